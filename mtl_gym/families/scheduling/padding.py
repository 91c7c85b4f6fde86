"""Removal of the padding that all texts of a batch share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.data import MultiTaskDataset

# Approximate limit on the activations of one forward pass, and the activations of one token; a pixel counts as one.
BUDGET, PER_TOKEN = 2**20, 64


class Padding:
    """Lengths of the texts of a split; other inputs have no padding.

    Args:
        data: Data set.
        split: Name of the split.
    """

    def __init__(self, data: MultiTaskDataset, split: str) -> None:
        x = data.split(split).x
        self.lengths: NDArray[np.int64] | None = None
        self.size = int(np.prod(data.input_shape))
        if data.vocabulary:
            words = x[..., 0] if x.ndim == 3 else x
            self.lengths = (words != 0).sum(1).cpu().numpy()
            self.size = PER_TOKEN * data.input_shape[0]

    @property
    def rows_at_once(self) -> int:
        """Number of samples that a network can process at once within its memory budget."""
        return max(16, BUDGET // self.size)

    def by_length(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the order that sorts each task's samples by text length; int64 [tasks, samples]."""
        lengths = np.zeros_like(rows) if self.lengths is None else self.lengths[rows]
        return lengths.argsort(-1, kind="stable")

    def cut(self, rows: NDArray[np.int64], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels without the padding that all samples share.

        Args:
            rows: Indices of the samples in the split; int64 [...].
            x: [*rows.shape, steps, ...].
            y: [*rows.shape] or [*rows.shape, steps].
        """
        if self.lengths is None:
            return x, y
        longest, axis = int(self.lengths[rows].max()), rows.ndim
        return x.narrow(axis, 0, longest), y.narrow(axis, 0, longest) if y.ndim > axis else y
