"""What was trained when, and what came of it: the record of a training run that pictures are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SEGMENTS = 200

Floats = NDArray[np.float32]


class Timeline:
    """A training run of every row, in at most `SEGMENTS` equal parts.

    Args:
        runs: Rows.
        tasks: Tasks.
        bins: Bins of a histogram.
        steps: Decisions of a run.

    Attributes:
        step: Decision at the end of each part; int64 [parts].
        trained: Weight with which each task was trained, summed over the part; float32 [parts, runs, tasks].
        accuracy: Validation accuracy at its end, NaN in the future; float32 [parts, runs, tasks].
        loss: Validation loss at its end; float32 [parts, runs, tasks].
        histogram: Of the first row, at its end; float32 [parts, tasks, bins].
    """

    ARRAYS = ("trained", "accuracy", "loss", "histogram")

    def __init__(self, runs: int, tasks: int, bins: int, steps: int) -> None:
        self.steps, parts = steps, min(steps, SEGMENTS)
        self.step = -(-np.arange(1, parts + 1) * steps // parts)
        self.trained = np.zeros((parts, runs, tasks), np.float32)
        self.accuracy = np.full((parts, runs, tasks), np.nan, np.float32)
        self.loss = self.accuracy.copy()
        self.histogram = np.full((parts, tasks, bins), np.nan, np.float32)

    def add(self, step: int, weights: Floats, accuracy: Floats, loss: Floats, histogram: Floats) -> None:
        """Note a decision, counted from 0: weights, accuracy and loss [runs, tasks], histogram [tasks, bins]."""
        part = int(np.searchsorted(self.step, step + 1))
        self.trained[part] += weights
        self.accuracy[part], self.loss[part], self.histogram[part] = accuracy, loss, histogram

    @property
    def shares(self) -> Floats:
        """Share of the training that each task had in each part, all rows together; [parts, tasks]."""
        total = self.trained.sum(1)
        with np.errstate(invalid="ignore"):
            return total / total.sum(1, keepdims=True)

    def state(self) -> dict[str, Any]:
        """Tensors."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in self.ARRAYS}

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        for name in self.ARRAYS:
            setattr(self, name, state[name].numpy().copy())
