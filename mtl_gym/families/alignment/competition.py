"""Modules that compete for locations: the incumbent and its challengers, what is believed of them, and who stays."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.episode import Floats
from mtl_gym.families.alignment.joint import Index, Locations

DECOMPOSITIONS = ("location", "task", "model")


def units(decomposition: str, locations: Locations) -> Index:
    """The submapping that each location belongs to; int64 [locations].

    "location" is the paper's D = L, "task" its D = T, "model" its D = 1.
    """
    if decomposition == "location":
        return np.arange(len(locations.order))
    return locations.architecture if decomposition == "task" else np.zeros(len(locations.order), np.int64)


@dataclass(frozen=True)
class Competition:
    """One generation's mappings psi^0 (the incumbents) to psi^lambda.

    Attributes:
        slots: The modules at each location, the incumbent first; a slot without a challenger repeats the incumbent.
            int64 [runs, locations, 1 + challengers].
        real: Where a challenger was named; bool [runs, locations, challengers].
        unit: The submapping of each location; int64 [locations].
    """

    slots: Index
    real: NDArray[np.bool_]
    unit: Index

    @classmethod
    def between(cls, incumbents: Index, challengers: Index, modules: int, unit: Index) -> Competition:
        """Set challengers, int64 [runs, locations, challengers], against incumbents; `modules` stands for none."""
        real = challengers < modules
        slots = np.where(real, challengers, incumbents[..., None])
        return cls(np.concatenate([incumbents[..., None], slots], -1), real, unit)

    @classmethod
    def uncontested(cls, incumbents: Index, modules: int, unit: Index) -> Competition:
        """Return a competition without challengers."""
        return cls.between(incumbents, np.full((*incumbents.shape, 1), modules), modules, unit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Runs, submappings, slots: of the weights s that belief is learned by."""
        runs, _, slots = self.slots.shape
        return runs, int(self.unit.max()) + 1, slots

    @property
    def contested(self) -> bool:
        """Whether there is any challenger."""
        return bool(self.real.any())

    def used(self, modules: int) -> NDArray[np.bool_]:
        """Modules that stand in any slot; bool [runs, modules]."""
        found = np.zeros((len(self.slots), modules), bool)
        np.put_along_axis(found, self.slots.reshape(len(found), -1), True, 1)
        return found

    def first_scores(self, share: float | None, device: torch.device) -> Tensor:
        """The weights s at first: all slots alike, or challengers with `share` of the belief together."""
        scores = torch.zeros(self.shape, device=device)
        if share is not None:
            scores[..., 1:] = log(share) - log(1 - share) - log(self.shape[2] - 1)
        return scores.requires_grad_()

    def spread(self, scores: Tensor) -> Tensor:
        """softmax(s) of each location's submapping; [runs, submappings, slots] -> [runs, locations, slots].

        Source: MUiR, eq. 8; for D < L the locations of a submapping share their weights s.
        """
        belief = scores.softmax(-1)
        if belief.shape[1] == len(self.unit):
            return belief
        return belief[:, torch.from_numpy(self.unit).to(belief.device)]

    def scores(self, belief: Floats) -> Floats:
        """The scores h of all mappings at every location, where mappings that agree add up; [runs, locations, slots].

        Args:
            belief: softmax(s) of each location's submapping; float32 [runs, locations, slots].

        Source: MUiR, section 3.3: h(psi^i) = sum_j softmax(s)_j I(psi^j = psi^i), accounting for duplicates.
        """
        same = self._same()[:, self.unit] if self.shape[1] < len(self.unit) else self._equal()
        return (same * belief[..., None, :]).sum(-1).astype(np.float32)

    def _equal(self) -> NDArray[np.bool_]:
        return self.slots[..., :, None] == self.slots[..., None, :]

    def _same(self) -> NDArray[np.bool_]:
        """Whether two mappings agree at all locations of a submapping; bool [runs, submappings, slots, slots]."""
        runs, submappings, slots = self.shape
        same = np.ones((submappings, runs, slots, slots), bool)
        np.logical_and.at(same, self.unit, np.moveaxis(self._equal(), 1, 0))
        return np.moveaxis(same, 0, 1)

    def best(self, scores: Floats) -> Index:
        """The assignment in which every submapping is its best one, ties to the incumbent; int64 [runs, locations].

        Source: MUiR, algorithm 1, line 9.
        """
        return self._take(scores.argmax(-1))

    def random(self, random: np.random.Generator) -> Index:
        """The assignment in which every submapping is any of the mappings: the control of table 2."""
        runs, submappings, slots = self.shape
        return self._take(random.integers(slots, size=(runs, submappings))[:, self.unit])

    def _take(self, slot: Index) -> Index:
        return np.take_along_axis(self.slots, slot[..., None], -1)[..., 0]
