"""What a generation earns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.episode import Floats
from mtl_gym.data.collection import TaskData
from mtl_gym.families.alignment.joint import Index


@dataclass(frozen=True)
class Measured:
    """What the runs have between two generations, under their assignments.

    Attributes:
        train_loss: Of training samples; float32 [runs, tasks].
        validation_loss: Of validation samples; float32 [runs, tasks].
        scale: The variance of a regression's training targets, or a classification's first validation loss;
            float32 [runs, tasks].
        assignment: The module of each location; int64 [runs, locations].
    """

    train_loss: Floats
    validation_loss: Floats
    scale: Floats
    assignment: Index

    @property
    def relative(self) -> Floats:
        """The validation loss over its scale, mean over tasks; float32 [runs]."""
        relative: Floats = (self.validation_loss / self.scale).mean(1)
        return relative


def scales(first: Floats, tasks: Sequence[TaskData]) -> Floats:
    """What validation losses are set against: the first ones, or the variance of training targets.

    Args:
        first: A run's first validation losses; float32 [runs, tasks].
        tasks: The tasks.

    Returns:
        float32 [runs, tasks], above 0.
    """
    found = first.copy()
    for number, task in enumerate(tasks):
        if task.kind == "regression":
            found[:, number] = task.splits["train"][1].var(0, correction=0).mean().item()
    return np.maximum(found, np.finfo(np.float32).tiny)


def root_mean_square_error(loss: Floats, tasks: Sequence[TaskData]) -> Floats:
    """Return the mean over regressions of their root mean square error, NaN without any; [runs, tasks] -> [runs]."""
    numbers = np.array([task.kind == "regression" for task in tasks])
    errors: Floats = np.sqrt(loss[:, numbers])
    return errors.mean(1) if numbers.any() else np.full(len(loss), np.nan)


AlignmentReward: TypeAlias = Callable[[Measured, Measured], NDArray[np.floating[Any]]]


def validation(before: Measured, after: Measured) -> Floats:
    """The fall of the relative validation loss; float32 [runs]."""
    return before.relative - after.relative


def training(before: Measured, after: Measured) -> Floats:
    """The fall of the training loss, mean over tasks; float32 [runs].

    It is largest where nothing is shared, since many modules fit few training samples best.
    """
    fall: Floats = (before.train_loss - after.train_loss).mean(1)
    return fall


REWARDS: dict[str, AlignmentReward] = {"validation": validation, "training": training}


def earned(reward: AlignmentReward, before: Measured, after: Measured) -> Floats:
    """What a generation earns each run; float32 [runs].

    Raises:
        ValueError: If the reward is not one number per run.
    """
    given = np.asarray(reward(before, after))
    runs = len(after.assignment)
    if given.shape != (runs,) or given.dtype.kind not in "biuf":
        raise ValueError(
            f"reward={reward!r} gave {given.dtype} of shape {list(given.shape)}; of what was measured before and after "
            f"a generation it makes one number per run, an array of shape [{runs}] here."
        )
    return given.astype(np.float32)
