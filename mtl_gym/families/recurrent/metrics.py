"""Answers of current episodes, and counts of answers over all episodes of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.episode import AnswerResult
from mtl_gym.core.rows import Array, Flags, Rows


@dataclass
class AnswersSoFar:
    """Answers of current episodes, one at the end or one at every step.

    Attributes:
        right: Number of correct answers; int64 [rows].
        answers: Number of answers; int64 [rows].
        loss: Sum of cross-entropies; float64 [rows].
        prediction: Predicted classes, -1 before an answer; int64 [rows], or [rows, steps] with answers at every step.
        label: Correct classes, -1 before an answer; shape as `prediction`.
    """

    right: Rows
    answers: Rows
    loss: NDArray[np.float64]
    prediction: Rows
    label: Rows

    @classmethod
    def none(cls, rows: int, steps: int, every_step: bool) -> AnswersSoFar:
        """Return episodes without answers."""
        shape = (rows, steps) if every_step else (rows,)
        right, answers = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        return cls(right, answers, np.zeros(rows), np.full(shape, -1), np.full(shape, -1))

    def begin(self, rows: Rows) -> None:
        """Reset the answers of `rows`; int64 [n]."""
        self.right[rows], self.answers[rows], self.loss[rows] = 0, 0, 0
        self.prediction[rows], self.label[rows] = -1, -1

    def add(self, rows: Rows, step: Rows, label: Rows, prediction: Rows, loss: NDArray[np.float32]) -> None:
        """Record answers of `rows` at `step`; [n] each."""
        self.right[rows] += label == prediction
        self.answers[rows] += 1
        self.loss[rows] += loss
        place = (rows, step) if self.prediction.ndim == 2 else (rows,)
        self.prediction[place], self.label[place] = prediction, label

    def result(self, ended: Flags, task: Rows, **more: Array) -> AnswerResult:
        """Return the result of the ended episodes; the loss is the mean over the answers of a row."""
        correct = self.right == self.answers
        return AnswerResult(
            ended=ended,
            success=correct.copy(),
            task=task,
            correct=correct,
            prediction=self.prediction.copy(),
            loss=(self.loss / np.maximum(self.answers, 1)).astype(np.float32),
            answered=np.ones(len(ended), bool),
            answers=self.answers.copy(),
            right=self.right.copy(),
            more={"label": self.label.copy(), **more},
        )


class Confusion:
    """Confusion matrix of each task.

    Args:
        tasks: Number of tasks.
        classes: Largest number of labels of a task.

    Example:
        >>> confusion = Confusion(tasks=1, classes=3)
        >>> confusion.add(np.zeros(4, int), label=np.array([0, 0, 1, -1]), prediction=np.array([0, 1, 1, -1]))
        >>> confusion.f1().round(3).tolist()
        [0.667]
    """

    def __init__(self, tasks: int, classes: int) -> None:
        self.counts = np.zeros((tasks, classes, classes), np.int64)

    def add(self, task: Rows, label: Rows, prediction: Rows) -> None:
        """Count answers, int64 [n] each; labels of -1 are ignored."""
        real = label >= 0
        np.add.at(self.counts, (task[real], label[real], prediction[real]), 1)

    def f1(self) -> NDArray[np.float64]:
        """Return the macro F1 of each task, over labels that occur in data or answers; float64 [tasks]."""
        right = self.counts.diagonal(axis1=1, axis2=2)
        total = self.counts.sum(1) + self.counts.sum(2)
        score = np.divide(2 * right, total, out=np.zeros(total.shape), where=total > 0)
        return score.sum(1) / np.maximum((total > 0).sum(1), 1)
