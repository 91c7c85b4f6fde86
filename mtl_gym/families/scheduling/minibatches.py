"""Training samples of each run, drawn independently of the other runs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.nn.dropout import RunKeys
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.stratified import proportional_rows

BLOCK = 256


class Minibatches:
    """Samples of one task's part of a split, drawn uniformly with replacement.

    Args:
        data: Data set.
        split: Name of the split.
        groups: Minibatches per update.
        size: Samples per minibatch.

    Attributes:
        keys: Dropout keys of each run's last update; int64 [runs].

    Example:
        >>> from mtl_gym.data import load
        >>> draw = Minibatches(load("digits"), "train", groups=1, size=4)
        >>> draw.begin([7])
        >>> draw.take(np.array([[3]])).shape
        (1, 1, 4)
    """

    def __init__(self, data: MultiTaskDataset, split: str, groups: int, size: int) -> None:
        self.rows, self.count = rows_of_tasks(data, split)
        self.shape = (groups, size)
        self.begin([])

    def begin(self, seeds: Sequence[int], taken: int = 0) -> None:
        """Start the draws of every run from its seed, at update number `taken`."""
        self.seeds, self.taken, self._block = list(seeds), taken, -1
        self._keys = RunKeys(seeds)

    def take(self, task: NDArray[np.int64]) -> NDArray[np.int64]:
        """Draw indices of the next samples of the given tasks; int64 [runs, groups] -> [runs, groups, size]."""
        block, place = divmod(self.taken, BLOCK)
        if block != self._block:
            self._block, self._draws = block, self._draw(block)
        self.keys = self._keys.at(self.taken)
        self.taken += 1
        within = (self._draws[:, place] * self.count[task][..., None]).astype(np.int64)
        return self.rows[task[..., None], within]

    def _draw(self, block: int) -> NDArray[np.float64]:
        """Draw numbers in [0, 1) for a block of updates; float64 [runs, BLOCK, groups, size]."""
        draws = [np.random.default_rng([seed, block]).random((BLOCK, *self.shape)) for seed in self.seeds]
        return np.stack(draws)


def rows_of_tasks(
    data: MultiTaskDataset, split: str, limit: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of each task's samples in a split, and their number.

    Args:
        data: Data set.
        split: Name of the split.
        limit: Number of samples to select from each task, always the same ones: stratified by label, or regardless of
            labels for label sequences. None selects all.

    Returns:
        Indices, int64 [tasks, samples], padded with the first index of the task; and their number, int64 [tasks].
    """
    task, y = data.split(split).task.cpu().numpy(), data.split(split).y.cpu().numpy()
    rows = [np.flatnonzero(task == number) for number in range(data.num_tasks)]
    if limit is not None:
        rows = [own[_drawn(y[own], limit)] for own in rows]
    count = np.array([len(own) for own in rows])
    filled = [np.pad(own, (0, count.max() - len(own)), constant_values=own[0]) for own in rows]
    return np.stack(filled), count


def _drawn(y: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    labels = np.zeros(len(y), np.int64) if y.ndim > 1 else y
    return proportional_rows(labels, count, np.random.default_rng(zlib.crc32(y.tobytes())))
