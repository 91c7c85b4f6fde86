"""Order of samples: shuffled epochs in training, a single pass in an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.rows import State
from mtl_gym.core.state.structure import Numbers, Whole

Index = NDArray[np.int64]


class SampleStream:
    """Endless stream of sample indices in shuffled epochs, one for each of the runs side by side.

    Args:
        size: Number of samples in the split.
        *randoms: Generators that shuffle each epoch, one for each run.

    Attributes:
        order: Samples in the order of the epoch; int64 [runs, size].
        position: Number of samples of the epoch that every run has taken.
    """

    def __init__(self, size: int, *randoms: np.random.Generator) -> None:
        self.size, self.randoms = size, randoms
        self.order = np.tile(np.arange(size), (len(randoms), 1))
        self.position = size

    def supply(self, rows: Index, count: int) -> Index:
        """Return the next `count` indices of each run, whatever the `rows`; int64 [runs * count], run by run."""
        return self.take(count)

    def take(self, count: int) -> Index:
        """Return the next `count` indices of each run; int64 [runs * count], run by run."""
        parts, missing = [], count
        while missing:
            part = self._next(missing)
            parts.append(part)
            missing -= part.shape[1]
        return np.concatenate(parts, axis=1).ravel()

    def _next(self, count: int) -> Index:
        if self.position >= self.size:
            self.order, self.position = np.stack([random.permutation(self.size) for random in self.randoms]), 0
        part = self.order[:, self.position : self.position + count]
        self.position += part.shape[1]
        return part

    def state(self) -> State:
        """Return order and position of the only run."""
        return {"order": torch.from_numpy(self.order[0].copy()), "position": self.position}

    def model(self) -> State:
        """Return what `state` may look like."""
        return {"order": Numbers(torch.from_numpy(self.order[0]), free=1), "position": Whole()}

    def load(self, state: State) -> None:
        """Restore the result of `state`, of the only run.

        Raises:
            CheckpointError: If it has other samples.
        """
        order = state["order"].numpy().copy()
        if not np.array_equal(np.sort(order), np.arange(self.size)):
            raise CheckpointError(f"the order of the stream is none of its {self.size} samples")
        self.order, self.position = order[None], int(state["position"])

    def of_run(self, run: int) -> SampleStream:
        """Return the stream of one run, at its position."""
        stream = SampleStream(self.size, self.randoms[run])
        stream.order, stream.position = self.order[run : run + 1], self.position
        return stream

    def join(self, streams: Sequence[SampleStream]) -> None:
        """Take over the streams of single runs, all at one position."""
        self.order, self.position = np.concatenate([stream.order for stream in streams]), streams[0].position


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
        samples: Samples of the batch, run by run; int64 [n].
        used: Number of samples that the rows of a run have taken.
        runs: Number of runs side by side.

    Example:
        >>> waiting = Waiting()
        >>> waiting.add(np.array([7, 5, 6]))
        >>> waiting.take(2), waiting.left, waiting.lacks(2)
        (array([0, 1]), array([6]), True)
    """

    samples: Index = field(default_factory=lambda: np.empty(0, np.int64))
    used: int = 0
    runs: int = 1

    def model(self, size: int) -> State:
        """Return the model of its state, where there are `size` samples."""
        samples = Numbers(torch.from_numpy(self.samples), 0, size - 1, free=1)
        return {"samples": samples, "used": Whole(), "runs": 1}

    def of_run(self, run: int) -> Waiting:
        """Return the samples of one run."""
        return Waiting(self.samples.reshape(self.runs, -1)[run], self.used)

    @classmethod
    def joined(cls, waiting: Sequence[Waiting]) -> Waiting:
        """Return the samples of several runs, which have taken equally many."""
        return cls(np.concatenate([one.samples for one in waiting]), waiting[0].used, len(waiting))

    @property
    def left(self) -> Index:
        """Return the samples that no row has taken, run by run; int64 [n]."""
        return self.samples.reshape(self.runs, -1)[:, self.used :].ravel()

    def lacks(self, count: int) -> bool:
        """Return whether fewer than `count` samples are left."""
        return len(self.left) < count

    def add(self, samples: Index) -> None:
        """Begin a new batch with what is left of each run, followed by its `samples`; int64 [n], run by run."""
        parts = [part.reshape(self.runs, -1) for part in (self.left, samples)]
        self.samples, self.used = np.concatenate(parts, axis=1).ravel(), 0

    def take(self, count: int) -> Index:
        """Take the next samples, as many in each run, and return their places in the batch; int64 [count]."""
        each = count // self.runs
        first = np.arange(self.runs) * (len(self.samples) // self.runs) + self.used
        self.used += each
        return (first[:, None] + np.arange(each)).ravel()
