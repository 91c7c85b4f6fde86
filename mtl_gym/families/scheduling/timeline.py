"""The record of a training run that pictures are drawn from: what was trained when, and the validation figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Rows

SEGMENTS = 200


@dataclass
class Timeline:
    """A training run of every row, in at most `SEGMENTS` equal parts.

    Attributes:
        step: Decision at the end of each part; int64 [parts].
        trained: Weight with which each task was trained, summed over the part; float32 [parts, runs, tasks].
        accuracy: Validation accuracy at its end, NaN in the future; float32 [parts, runs, tasks].
        loss: Validation loss at its end; float32 [parts, runs, tasks].
        histogram: Histograms of the first run at its end; float32 [parts, tasks, bins].
    """

    step: Rows
    trained: Floats
    accuracy: Floats
    loss: Floats
    histogram: Floats

    @classmethod
    def empty(cls, runs: int, tasks: int, bins: int, steps: int) -> Timeline:
        """Return the timeline of runs of `steps` decisions before the first."""
        parts = min(steps, SEGMENTS)
        unknown = np.full((parts, runs, tasks), np.nan, np.float32)
        return cls(
            step=-(-np.arange(1, parts + 1) * steps // parts),
            trained=np.zeros((parts, runs, tasks), np.float32),
            accuracy=unknown,
            loss=unknown.copy(),
            histogram=np.full((parts, tasks, bins), np.nan, np.float32),
        )

    def add(self, step: int, weights: Floats, accuracy: Floats, loss: Floats, histogram: Floats) -> None:
        """Enter a decision, counted from 0: weights, accuracy and loss [runs, tasks], histogram [tasks, bins]."""
        part = int(np.searchsorted(self.step, step + 1))
        self.trained[part] += weights
        self.accuracy[part], self.loss[part], self.histogram[part] = accuracy, loss, histogram

    @property
    def shares(self) -> Floats:
        """Share of the training that each task had in each part, all rows together; [parts, tasks]."""
        total = self.trained.sum(1)
        with np.errstate(invalid="ignore"):
            shares: Floats = total / total.sum(1, keepdims=True)
        return shares
