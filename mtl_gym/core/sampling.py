"""Order of samples: shuffled epochs in training, a single pass in an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.rows import State
from mtl_gym.core.state.structure import Numbers, Whole

Index = NDArray[np.int64]


class SampleStream:
    """Endless stream of sample indices in shuffled epochs.

    Args:
        size: Number of samples in the split.
        random: Generator that shuffles each epoch.
    """

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.size, self.random = size, random
        self.order = np.arange(size)
        self.position = size

    def supply(self, rows: Index, count: int) -> Index:
        """Return the next `count` indices, whatever the `rows`; int64 [count]."""
        return self.take(count)

    def take(self, count: int) -> Index:
        """Return the next `count` indices; int64 [count]."""
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

    def state(self) -> State:
        """Return order and position."""
        return {"order": torch.from_numpy(self.order.copy()), "position": self.position}

    def model(self) -> State:
        """Return what `state` may look like."""
        return {"order": Numbers(torch.from_numpy(self.order), free=1), "position": Whole()}

    def load(self, state: State) -> None:
        """Restore the result of `state`.

        Raises:
            CheckpointError: If it has other samples.
        """
        order = state["order"].numpy().copy()
        if not np.array_equal(np.sort(order), np.arange(self.size)):
            raise CheckpointError(f"the order of the stream is none of its {self.size} samples")
        self.order, self.position = order, int(state["position"])


class Pass:
    """One pass over all samples with a fixed share for each row, independent of the length of other rows' episodes.

    Each round assigns one sample to every row, in order. An incomplete last round goes to the last rows: row i has
    (size + i) // rows samples, as Stable-Baselines3's `evaluate_policy` distributes episodes.

    Args:
        size: Number of samples in the split.
        rows: Number of parallel episodes.

    Example:
        >>> samples = Pass(5, rows=2)
        >>> [samples.supply(np.arange(2), 2).tolist() for _ in range(4)]
        [[0, 1], [2, 3], [-1, 4], [-1, -1]]
    """

    def __init__(self, size: int, rows: int) -> None:
        self.size, self.rounds = size, np.zeros(rows, np.int64)

    def supply(self, rows: Index, count: int) -> Index:
        """Return the next index of each of `rows`, -1 after the end of its share, whatever the `count`; int64 [n]."""
        width = len(self.rounds)
        whole, rest = divmod(self.size, width)
        sample = self.rounds[rows] * width + rows
        late = self.rounds[rows] == whole
        sample[late] -= width - rest
        over = (self.rounds[rows] > whole) | (late & (rows < width - rest))
        self.rounds[rows] += 1
        return np.where(over, -1, sample)

    def state(self) -> State:
        """Return the number of samples that each row has used."""
        return {"rounds": torch.from_numpy(self.rounds.copy())}

    def model(self) -> State:
        """Return what `state` may look like."""
        return self.state()

    def load(self, state: State) -> None:
        """Restore the result of `state`."""
        self.rounds = state["rounds"].numpy().copy()


@dataclass
class Waiting:
    """Samples drawn ahead of time, so that a network embeds whole batches.

    Attributes:
        samples: Samples of the batch; int64 [n].
        used: Number of samples that rows have taken.

    Example:
        >>> waiting = Waiting()
        >>> waiting.add(np.array([7, 5, 6]))
        >>> waiting.take(2), waiting.left, waiting.lacks(2)
        (array([0, 1]), array([6]), True)
    """

    samples: Index = field(default_factory=lambda: np.empty(0, np.int64))
    used: int = 0

    def model(self, size: int) -> State:
        """Return the model of its state, where there are `size` samples."""
        samples = Numbers(torch.from_numpy(self.samples), 0, size - 1, free=1)
        return {"samples": samples, "used": Whole()}

    @property
    def left(self) -> Index:
        """Return the samples that no row has taken; int64 [n - used]."""
        return self.samples[self.used :]

    def lacks(self, count: int) -> bool:
        """Return whether fewer than `count` samples are left."""
        return len(self.left) < count

    def add(self, samples: Index) -> None:
        """Begin a new batch with what is left, followed by `samples`; int64 [n]."""
        self.samples, self.used = np.concatenate([self.left, samples]), 0

    def take(self, count: int) -> Index:
        """Take the next samples, and return their places in the batch; int64 [count]."""
        places = np.arange(self.used, self.used + count)
        self.used += count
        return places
