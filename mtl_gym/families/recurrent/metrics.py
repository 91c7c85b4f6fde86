"""What episodes have answered: those under way, at the end or at every step; and all those of an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.rows import Rows

ARRAYS = ("right", "answers", "loss", "prediction", "label")


class Tallies:
    """Answers of the episodes under way.

    Args:
        rows: Episodes side by side.
        steps: Time steps.
        every_step: Whether every step is answered.

    Attributes:
        right: Right answers; int64 [rows].
        answers: All answers; int64 [rows].
        loss: Their summed cross-entropies; float64 [rows].
        prediction: What was answered, -1 before; int64 [rows] or [rows, steps].
        label: What would have been right; the same shape.
    """

    def __init__(self, rows: int, steps: int, every_step: bool) -> None:
        self.right, self.answers, self.loss = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows)
        shape = (rows, steps) if every_step else (rows,)
        self.prediction, self.label = np.full(shape, -1), np.full(shape, -1)

    def begin(self, rows: Rows) -> None:
        """Forget the answers of `rows`; int64 [n]."""
        self.right[rows], self.answers[rows], self.loss[rows] = 0, 0, 0
        self.prediction[rows], self.label[rows] = -1, -1

    def add(self, rows: Rows, step: Rows, label: Rows, prediction: Rows, loss: NDArray[np.float32]) -> None:
        """Count answers at `step`; [n] each."""
        self.right[rows] += label == prediction
        self.answers[rows] += 1
        self.loss[rows] += loss
        place: Any = (rows, step) if self.prediction.ndim == 2 else rows
        self.prediction[place], self.label[place] = prediction, label

    def figures(self) -> dict[str, Any]:
        """Return the figures of an `AnswerResult`, [rows] each; `loss` is the mean over a row's answers."""
        correct = self.right == self.answers
        figures = {name: getattr(self, name).copy() for name in ("right", "answers", "prediction", "label")}
        loss = (self.loss / np.maximum(self.answers, 1)).astype(np.float32)
        return figures | {"correct": correct, "success": correct.copy(), "loss": loss}

    def state(self) -> dict[str, Any]:
        """Counts as tensors."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        for name in ARRAYS:
            setattr(self, name, state[name].numpy().copy())


class Confusion:
    """How often each label was answered with each, by task.

    Args:
        tasks: Number of tasks.
        classes: Labels of the task that has most.

    Example:
        >>> confusion = Confusion(tasks=1, classes=3)
        >>> confusion.add(np.zeros(4, int), label=np.array([0, 0, 1, -1]), prediction=np.array([0, 1, 1, -1]))
        >>> confusion.f1().round(3).tolist()
        [0.667]
    """

    def __init__(self, tasks: int, classes: int) -> None:
        self.counts = np.zeros((tasks, classes, classes), np.int64)

    def add(self, task: Rows, label: Rows, prediction: Rows) -> None:
        """Count answers, int64 [n] each; labels of -1 are left out."""
        real = label >= 0
        np.add.at(self.counts, (task[real], label[real], prediction[real]), 1)

    def f1(self) -> NDArray[np.float64]:
        """Macro F1 of each task: the mean over labels that occur, in the data or in answers; float64 [tasks]."""
        right = self.counts.diagonal(axis1=1, axis2=2)
        total = self.counts.sum(1) + self.counts.sum(2)
        score = np.divide(2 * right, total, out=np.zeros(total.shape), where=total > 0)
        return score.sum(1) / np.maximum((total > 0).sum(1), 1)
