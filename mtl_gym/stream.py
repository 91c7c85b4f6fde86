"""The order in which samples come: shuffled epochs while training, once in order for an evaluation."""

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
        random: Shuffles every epoch anew; None gives one pass in order, then -1.
    """

    def __init__(self, size: int, random: np.random.Generator | None) -> None:
        self.size, self.random = size, random
        self.order = np.arange(size)
        self.position = size if random is not None else 0

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
            if self.random is None:
                return np.full(count, -1)
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
