"""Padding that all texts of a batch share, cut off before a network reads it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.data import MultiTaskDataset

# About how many numbers a network may hold for what it reads at once: it holds more for a word than for a pixel.
BUDGET, PER_TOKEN = 2**20, 64


class Padding:
    """How long the texts of a split are; inputs that are no texts have no padding.

    Args:
        data: The data set.
        split: The part of it.
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
        """How many samples a network may read at once, with its memory in mind."""
        return max(16, BUDGET // self.size)

    def by_length(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """An order of each line of rows, int64 [tasks, samples], in which texts of like length stand together."""
        lengths = np.zeros_like(rows) if self.lengths is None else self.lengths[rows]
        return lengths.argsort(-1, kind="stable")

    def cut(self, rows: NDArray[np.int64], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels without the padding that all of `rows` share.

        Args:
            rows: Which samples they are, int64 [...].
            x: [*rows.shape, steps, ...].
            y: [*rows.shape] or [*rows.shape, steps].
        """
        if self.lengths is None:
            return x, y
        longest, axis = int(self.lengths[rows].max()), rows.ndim
        return x.narrow(axis, 0, longest), y.narrow(axis, 0, longest) if y.ndim > axis else y
