"""Valid choices of a batch: each distinct set once, and each pair of a row and a choice once.

Rows with equal masks share whatever depends on the choices alone. Pools have few distinct masks, because most of a mask
follows from the shape that the last module returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from mtl_gym.core.nn.products import rounded


@dataclass(frozen=True)
class Padding:
    """Places of a padded batch that hold something.

    Attributes:
        present: bool [rows, most].
    """

    present: Tensor

    @cached_property
    def places(self) -> Tensor:
        """Flat places that hold something; int64 [n]."""
        return self.present.flatten().nonzero().squeeze(1)

    @cached_property
    def _packed(self) -> Tensor:
        """Places to be packed, with place 0 for the rows that make up the number; int64 [rounded(n)]."""
        return pad(self.places, (0, rounded(len(self.places)) - len(self.places)))

    def pack(self, padded: Tensor) -> Tensor:
        """Return what is present, row by row, and rows without meaning; [rows, most, *shape] -> [n or more, *shape]."""
        return padded.flatten(0, 1).index_select(0, self._packed)

    def pad(self, packed: Tensor) -> Tensor:
        """Undo `pack`, with zeros where nothing is; [n or more, *shape] -> [rows, most, *shape]."""
        padded = packed.new_zeros(self.present.numel(), *packed.shape[1:])
        return padded.index_copy_(0, self.places, packed[: len(self.places)]).unflatten(0, self.present.shape)


@dataclass(frozen=True)
class Candidates:
    """Candidates of rows, from their masks.

    Attributes:
        masks: Valid choices; bool [rows, choices].
        own: Distinct mask of each row; int64 [rows].
        sets: Candidates of each distinct mask, in order, then padding; int64 [sets, most].
        of_sets: Places of candidates in `sets`.

    Example:
        >>> candidates = Candidates.of(torch.tensor([[True, False, True], [False, True, False], [True, False, True]]))
        >>> candidates.own, candidates.sets[:, :1].flatten(), len(candidates.pairs.places)
        (tensor([1, 0, 1]), tensor([1, 0]), 5)
    """

    masks: Tensor
    own: Tensor
    sets: Tensor
    of_sets: Padding

    @classmethod
    def of(cls, masks: Tensor) -> Candidates:
        """Find the distinct masks; bool [rows, choices]."""
        bits = np.packbits(masks.cpu().numpy(), axis=1)
        indices = np.unique(bits, axis=0, return_index=True, return_inverse=True)[1:]
        first, own = (torch.from_numpy(index.reshape(-1)).to(masks.device) for index in indices)
        distinct = masks[first]
        most = max(int(distinct.sum(1).max()), 1)
        sets = (~distinct).byte().argsort(dim=1, stable=True)[:, :most]
        return cls(masks, own, sets, Padding(distinct.gather(1, sets)))

    @cached_property
    def pairs(self) -> Padding:
        """Pairs of a row and a candidate; padding of [rows, most]."""
        return Padding(self.of_sets.present[self.own])

    @cached_property
    def places(self) -> Tensor:
        """Flat place in `masks` of each pair; int64 [pairs]."""
        width = self.masks.shape[1]
        starts = torch.arange(len(self.own), device=self.own.device) * width
        return (self.sets[self.own] + starts[:, None])[self.pairs.present]
