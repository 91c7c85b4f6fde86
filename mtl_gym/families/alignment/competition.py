"""Competition of modules for locations: an incumbent and its challengers, softmax weights, scores and selection."""

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
    """Return the submapping of each location; int64 [locations].

    "location" is the paper's D = L, "task" its D = T, "model" its D = 1.
    """
    if decomposition == "location":
        return np.arange(len(locations.order))
    return locations.architecture if decomposition == "task" else np.zeros(len(locations.order), np.int64)


@dataclass(frozen=True)
class Competition:
    """Mappings psi^0 (the incumbents) to psi^lambda of one generation.

    Attributes:
        slots: Modules at each location, the incumbent first; slots without a challenger repeat the incumbent. int64
            [runs, locations, 1 + challengers].
        real: Slots with a challenger; bool [runs, locations, challengers].
        unit: Submapping of each location; int64 [locations].
    """

    slots: Index
    real: NDArray[np.bool_]
    unit: Index

    @classmethod
    def between(cls, incumbents: Index, challengers: Index, modules: int, unit: Index) -> Competition:
        """Return the competition of incumbents and challengers.

        Args:
            incumbents: Module of each location; int64 [runs, locations].
            challengers: Challengers of each location, `modules` for none; int64 [runs, locations, challengers].
            modules: Number of modules.
            unit: Submapping of each location; int64 [locations].
        """
        real = challengers < modules
        slots = np.where(real, challengers, incumbents[..., None])
        return cls(np.concatenate([incumbents[..., None], slots], -1), real, unit)

    @classmethod
    def uncontested(cls, incumbents: Index, modules: int, unit: Index) -> Competition:
        """Return a competition without challengers."""
        return cls.between(incumbents, np.full((*incumbents.shape, 1), modules), modules, unit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the logits s: runs, submappings, slots."""
        runs, _, slots = self.slots.shape
        return runs, int(self.unit.max()) + 1, slots

    @property
    def contested(self) -> bool:
        """True if any location has a challenger."""
        return bool(self.real.any())

    def used(self, modules: int) -> NDArray[np.bool_]:
        """Return the modules in at least one slot; bool [runs, modules]."""
        found = np.zeros((len(self.slots), modules), bool)
        np.put_along_axis(found, self.slots.reshape(len(found), -1), True, 1)
        return found

    def first_scores(self, share: float | None, device: torch.device) -> Tensor:
        """Return the initial logits s: equal, or with a total softmax weight of `share` for the challengers."""
        scores = torch.zeros(self.shape, device=device)
        if share is not None:
            scores[..., 1:] = log(share) - log(1 - share) - log(self.shape[2] - 1)
        return scores.requires_grad_()

    def spread(self, scores: Tensor) -> Tensor:
        """Return softmax(s) of each location's submapping; [runs, submappings, slots] -> [runs, locations, slots].

        Source: MUiR, eq. 8; for D < L the locations of a submapping share the logits s.
        """
        belief = scores.softmax(-1)
        if belief.shape[1] == len(self.unit):
            return belief
        return belief[:, torch.from_numpy(self.unit).to(belief.device)]

    def scores(self, belief: Floats) -> Floats:
        """Return the scores h, the summed softmax weights of equal mappings; float32 [runs, locations, slots].

        Args:
            belief: softmax(s) of each location's submapping; float32 [runs, locations, slots].

        Source: MUiR, section 3.3: h(psi^i) = sum_j softmax(s)_j I(psi^j = psi^i), accounting for duplicates.
        """
        same = self._same()[:, self.unit] if self.shape[1] < len(self.unit) else self._equal()
        return (same * belief[..., None, :]).sum(-1).astype(np.float32)

    def _equal(self) -> NDArray[np.bool_]:
        return self.slots[..., :, None] == self.slots[..., None, :]

    def _same(self) -> NDArray[np.bool_]:
        """Return the pairs of slots that agree in all of a submapping; bool [runs, submappings, slots, slots]."""
        runs, submappings, slots = self.shape
        same = np.ones((submappings, runs, slots, slots), bool)
        np.logical_and.at(same, self.unit, np.moveaxis(self._equal(), 1, 0))
        return np.moveaxis(same, 0, 1)

    def best(self, scores: Floats) -> Index:
        """Select the slot of highest score, with ties to the incumbent; int64 [runs, locations].

        Source: MUiR, algorithm 1, line 9.
        """
        return self._take(scores.argmax(-1))

    def random(self, random: np.random.Generator) -> Index:
        """Select a random slot for every submapping, the control of table 2; int64 [runs, locations]."""
        runs, submappings, slots = self.shape
        return self._take(random.integers(slots, size=(runs, submappings))[:, self.unit])

    def _take(self, slot: Index) -> Index:
        return np.take_along_axis(self.slots, slot[..., None], -1)[..., 0]
