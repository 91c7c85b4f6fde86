"""Typed results of a step: rewards, endings, and the figures of the episodes that ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.rows import Array, Flags, Info, Rows
from mtl_gym.core.validation import short

Floats: TypeAlias = NDArray[np.float32]
Result = TypeVar("Result", bound="EpisodeResult")


def is_array(figure: object, kinds: str, axes: int) -> bool:
    """Return whether a figure is a NumPy array with so many axes and a dtype of one of these kinds."""
    return isinstance(figure, np.ndarray) and figure.ndim == axes and figure.dtype.kind in kinds


def described(figure: object) -> str:
    """Return dtype and shape of an array, or the value of anything else, for a message.

    Example:
        >>> described(np.zeros((2, 3))), described([1, 2])
        ('a NumPy array float64 [2, 3]', '[1, 2]')
    """
    if isinstance(figure, np.ndarray):
        return f"a NumPy array {figure.dtype} {list(figure.shape)}"
    return short(figure)


@dataclass(frozen=True, kw_only=True)
class EpisodeResult(ABC):
    """Figures of the episodes that ended in a step, checked once, here.

    Attributes:
        ended: Rows whose episode ended; bool [num_envs]. All else counts in these rows alone.
        success: Whether the episode reached its goal; bool [num_envs]. Gymnasium's `is_success`.
        more: Further figures of the family, [num_envs, ...] each.

    Raises:
        ValueError: If a figure does not have one entry per row, or not the type that is documented.
    """

    ended: Flags
    success: Flags
    more: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check `ended` and `success`, and the number of rows of every figure."""
        self._require("ended", self.ended, "b", "bool", "num_envs")
        self._require("success", self.success, "b", "bool", "num_envs")
        rows = len(self.ended)
        for name, figure in {"success": self.success, **self._figures(), **self.more}.items():
            entries = len(figure) if np.ndim(figure) else "no"
            if entries != rows:
                raise ValueError(f"{name} has {entries} entries; an episode result of {rows} rows needs {rows}.")

    def _require(self, name: str, figure: object, kinds: str, dtype: str, *axes: str) -> None:
        """Refuse a field that is not an array of these axes with a dtype of one of these kinds."""
        if not is_array(figure, kinds, len(axes)):
            raise ValueError(
                f"{name} of {type(self).__name__} is {described(figure)}; it takes a NumPy array {dtype} "
                f"[{', '.join(axes)}]: convert it."
            )

    @abstractmethod
    def _figures(self) -> dict[str, Array]:
        """Return the figures of `info` that every result of this kind has, [num_envs, ...] each."""

    @abstractmethod
    def counts(self, tasks: int) -> NDArray[np.float64]:
        """Return sums over the ended episodes of each task; float64 [4, tasks].

        The four rows are answers, right answers, answers with a loss, and losses.
        """

    def known(self, name: str) -> Flags:
        """Return the rows in which a figure counts; bool [num_envs]."""
        return self.ended

    def info(self) -> Info:
        """Return Gymnasium's `final_info`: each figure, and under `_name` the rows in which it counts."""
        figures = {"is_success": self.success, **self._figures(), **self.more}
        return figures | {f"_{name}": self.known(name) for name in figures}

    def within(self: Result, playing: Flags) -> Result:
        """Return the same result for the rows in `playing` alone; bool [num_envs]."""
        return replace(self, ended=self.ended & playing)


@dataclass(frozen=True, kw_only=True)
class AnswerResult(EpisodeResult):
    """Results of episodes that end in answers to one task each.

    Attributes:
        task: Task of each row; int64 [num_envs].
        correct: Whether all answers of the row are right; bool [num_envs].
        prediction: Classes of the answers, -1 where there is none; int64 [num_envs, ...].
        loss: Mean loss of the answers; float32 [num_envs].
        answered: Rows with a loss; bool [num_envs].
        answers: Answers asked for; int64 [num_envs], or None for one each.
        right: Right answers; int64 [num_envs], or None for those of `correct`.
        weight: Weight of the answers in means over episodes; float64 [num_envs], or None for 1 each.
    """

    task: Rows
    correct: Flags
    prediction: Rows
    loss: Floats
    answered: Flags
    answers: Rows | None = None
    right: Rows | None = None
    weight: NDArray[np.float64] | None = None

    def _figures(self) -> dict[str, Array]:
        figures: dict[str, Array] = {
            "task": self.task,
            "correct": self.correct,
            "prediction": self.prediction,
            "loss": self.loss,
        }
        several = {"answers": self.answers, "right": self.right}
        return figures | {name: figure for name, figure in several.items() if figure is not None}

    def known(self, name: str) -> Flags:
        """As `EpisodeResult.known`; rows without an answer have no loss."""
        return self.ended & self.answered if name == "loss" else self.ended

    def counts(self, tasks: int) -> NDArray[np.float64]:
        """As `EpisodeResult.counts`."""
        answers = np.ones(len(self.task)) if self.answers is None else self.answers.astype(float)
        right = self.correct.astype(float) if self.right is None else self.right.astype(float)
        if self.weight is not None:
            answers, right = answers * self.weight, right * self.weight
        with_loss = answers * self.answered
        rows = np.flatnonzero(self.ended)
        sums = (answers, right, with_loss, self.loss.astype(float) * with_loss)
        return np.stack([np.bincount(self.task[rows], part[rows], minlength=tasks) for part in sums])


@dataclass(frozen=True, kw_only=True)
class TrainingResult(EpisodeResult):
    """Results of training runs, which all tasks share.

    Attributes:
        accuracy: Share of right answers, or of explained variance; float32 [num_envs, tasks].
        loss: Mean loss; float32 [num_envs, tasks].
        labels: Answers of each task in one run; [tasks].
        samples: Samples of each task in one run; [tasks].
    """

    accuracy: Floats
    loss: Floats
    labels: Array
    samples: Array

    def __post_init__(self) -> None:
        """Check every field; `labels` and `samples` have one entry per task."""
        for name, figure in {"accuracy": self.accuracy, "loss": self.loss}.items():
            self._require(name, figure, "f", "float32", "num_envs", "tasks")
        for name, figure in {"labels": self.labels, "samples": self.samples}.items():
            self._require(name, figure, "iuf", "of numbers", "tasks")
        tasks = self.accuracy.shape[1]
        for name, entries in {"labels": self.labels, "samples": self.samples, "loss": self.loss.T}.items():
            if len(entries) != tasks:
                raise ValueError(f"{name} has {len(entries)} tasks and accuracy {tasks}; give both for every task.")
        super().__post_init__()

    def _figures(self) -> dict[str, Array]:
        return {"accuracy": self.accuracy, "loss": self.loss, "mean_accuracy": self.accuracy.mean(1)}

    def counts(self, tasks: int) -> NDArray[np.float64]:
        """As `EpisodeResult.counts`."""
        runs = int(self.ended.sum())
        if not runs:
            return np.zeros((4, tasks))
        labels, samples = self.labels * runs, self.samples * runs
        accuracy, loss = self.accuracy[self.ended], self.loss[self.ended]
        return np.stack([labels, labels * accuracy.mean(0), samples, samples * loss.mean(0)]).astype(np.float64)


@dataclass(frozen=True)
class Transition:
    """The outcome of one decision in every row, before ended rows begin their next episode.

    Attributes:
        reward: float32 [num_envs].
        terminated: bool [num_envs].
        truncated: bool [num_envs].
        result: Figures of the episodes that ended; None where none did.
    """

    reward: Floats
    terminated: Flags
    truncated: Flags
    result: EpisodeResult | None = None

    @property
    def done(self) -> Flags:
        """Rows whose episode ended; bool [num_envs]."""
        return self.terminated | self.truncated

    @property
    def final_info(self) -> Info:
        """Gymnasium's `final_info` of the episodes that ended."""
        return {} if self.result is None else self.result.info()

    def within(self, playing: Flags) -> Transition:
        """Return the transition for the rows in `playing` alone; the others neither end nor earn anything."""
        reward = np.where(playing, self.reward, np.float32(0))
        result = None if self.result is None else self.result.within(playing)
        return Transition(reward, self.terminated & playing, self.truncated & playing, result)
