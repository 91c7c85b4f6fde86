"""Timelines of training runs for pictures: trained tasks and validation figures over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Rows

SEGMENTS = 200


@dataclass
class Timeline:
    """Records of training runs in at most `SEGMENTS` equal parts; figures of future parts are NaN.

    Attributes:
        step: Number of decisions at the end of each part; int64 [parts].
        trained: Training weight of each task, summed over the part; float32 [parts, runs, tasks].
        accuracy: Validation accuracy at the end of the part; float32 [parts, runs, tasks].
        loss: Validation loss at the end of the part; float32 [parts, runs, tasks].
        histogram: Histograms of the first run at the end of the part; float32 [parts, tasks, bins].
    """

    step: Rows
    trained: Floats
    accuracy: Floats
    loss: Floats
    histogram: Floats

    @classmethod
    def empty(cls, runs: int, tasks: int, bins: int, steps: int) -> Timeline:
        """Return the timeline of runs of `steps` decisions before the first decision."""
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
        """Record a decision, counted from 0: weights, accuracy and loss [runs, tasks], histogram [tasks, bins]."""
        part = int(np.searchsorted(self.step, step + 1))
        self.trained[part] += weights
        self.accuracy[part], self.loss[part], self.histogram[part] = accuracy, loss, histogram

    @property
    def shares(self) -> Floats:
        """Share of each task in the training of each part, over all runs; float32 [parts, tasks]."""
        total = self.trained.sum(1)
        with np.errstate(invalid="ignore"):
            shares: Floats = total / total.sum(1, keepdims=True)
        return shares

    @property
    def mean_accuracy(self) -> Floats:
        """Mean accuracy over runs and those tasks that have one; float32 [parts]."""
        known = np.isfinite(self.accuracy)
        with np.errstate(invalid="ignore"):
            mean: Floats = self.accuracy.sum((1, 2), where=known) / known.sum((1, 2), dtype=np.float32)
        return mean
