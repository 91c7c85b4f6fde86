"""Which samples come next: shuffled epochs while training, one pass for an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Index = NDArray[np.int64]


class SampleStream:
    """Indices of samples, epoch after epoch.

    Args:
        size: Samples in the split.
        random: Shuffles every epoch anew.
    """

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.size, self.random = size, random
        self.order = np.arange(size)
        self.position = size

    def supply(self, rows: Index, count: int) -> Index:
        """The next `count` indices, for whichever rows come first; int64 [count]."""
        return self.take(count)

    def take(self, count: int) -> Index:
        """The next `count` indices; int64 [count]."""
        parts, missing = [], count
        while missing:
            part = self._next(missing)
            parts.append(part)
            missing -= len(part)
        return np.concatenate(parts)

    def _next(self, count: int) -> Index:
        if self.position >= self.size:
            self.order, self.position = self.random.permutation(self.size), 0
        part = self.order[self.position : self.position + count]
        self.position += len(part)
        return part

    def state(self) -> dict[str, Any]:
        """Order and position."""
        return {"order": torch.from_numpy(self.order.copy()), "position": self.position}

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.order, self.position = state["order"].numpy().copy(), int(state["position"])


class Pass:
    """One pass over all samples, shared out among rows beforehand: each row has the same ones however long others take.

    A round gives every row one sample, in order. The last round, which may be too short for all, is that of the last
    rows: row i has (size + i) // rows samples, as Stable-Baselines3's `evaluate_policy` shares out episodes.

    Args:
        size: Samples in the split.
        rows: Episodes side by side.

    Example:
        >>> samples = Pass(5, rows=2)
        >>> [samples.supply(np.arange(2), 2).tolist() for _ in range(4)]
        [[0, 1], [2, 3], [-1, 4], [-1, -1]]
    """

    def __init__(self, size: int, rows: int) -> None:
        self.size, self.rounds = size, np.zeros(rows, np.int64)

    def supply(self, rows: Index, count: int) -> Index:
        """The next index of each of `rows`, -1 where it has had all of its own; int64 [n], whatever the count."""
        width = len(self.rounds)
        whole, rest = divmod(self.size, width)
        sample = self.rounds[rows] * width + rows
        late = self.rounds[rows] == whole
        sample[late] -= width - rest
        over = (self.rounds[rows] > whole) | (late & (rows < width - rest))
        self.rounds[rows] += 1
        return np.where(over, -1, sample)

    def state(self) -> dict[str, Any]:
        """How many each row has had."""
        return {"rounds": torch.from_numpy(self.rounds.copy())}

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.rounds = state["rounds"].numpy().copy()
