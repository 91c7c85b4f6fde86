"""Rewards of generations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Array
from mtl_gym.data.collection import TaskData
from mtl_gym.families.alignment.history import modules_used
from mtl_gym.families.alignment.joint import Index


@dataclass(frozen=True)
class Measured:
    """Losses and assignments of the runs between two generations.

    Attributes:
        train_loss: Mean loss over training samples; float32 [runs, tasks].
        validation_loss: Mean loss over validation samples; float32 [runs, tasks].
        scale: Variance of the training targets (regression) or first validation loss (classification); float32
            [runs, tasks].
        assignment: Module of each location; int64 [runs, locations].
    """

    train_loss: Floats
    validation_loss: Floats
    scale: Floats
    assignment: Index

    @property
    def relative(self) -> Floats:
        """Relative validation loss, the mean over tasks of loss divided by scale; float32 [runs]."""
        relative: Floats = (self.validation_loss / self.scale).mean(1)
        return relative

    def figures(self) -> dict[str, Array]:
        """Return `train_loss` and `validation_loss` [runs, tasks], and `modules_used` [runs]."""
        used = modules_used(self.assignment)
        return {"train_loss": self.train_loss, "validation_loss": self.validation_loss, "modules_used": used}


def scales(first: Floats, tasks: Sequence[TaskData]) -> Floats:
    """Return the scale of each validation loss, as in `Measured`.

    Args:
        first: First validation losses of the runs; float32 [runs, tasks].
        tasks: The tasks.

    Returns:
        float32 [runs, tasks], above 0.
    """
    found = first.copy()
    numbers = [number for number, task in enumerate(tasks) if task.kind == "regression"]
    if numbers:
        targets = [tasks[number].splits["train"][1] for number in numbers]
        found[:, numbers] = torch.stack([y.var(0, correction=0).mean() for y in targets]).cpu().numpy()
    return np.maximum(found, np.finfo(np.float32).tiny)


def root_mean_square_error(loss: Floats, tasks: Sequence[TaskData]) -> Floats:
    """Return the mean over regressions of their root mean square error, NaN without any; [runs, tasks] -> [runs]."""
    numbers = np.array([task.kind == "regression" for task in tasks])
    errors: Floats = np.sqrt(loss[:, numbers])
    return errors.mean(1) if numbers.any() else np.full(len(loss), np.nan)


AlignmentReward: TypeAlias = Callable[[Measured, Measured], NDArray[np.floating[Any]]]


def validation(before: Measured, after: Measured) -> Floats:
    """Return the decrease of the relative validation loss; float32 [runs]."""
    return before.relative - after.relative


def training(before: Measured, after: Measured) -> Floats:
    """Return the decrease of the training loss, mean over tasks; float32 [runs].

    It is largest without sharing, because many modules fit few training samples best.
    """
    fall: Floats = (before.train_loss - after.train_loss).mean(1)
    return fall


REWARDS: dict[str, AlignmentReward] = {"validation": validation, "training": training}


def earned(reward: AlignmentReward, before: Measured, after: Measured) -> Floats:
    """Return the reward of a generation; float32 [runs].

    Raises:
        ValueError: If the reward is not one number per run.
    """
    given = np.asarray(reward(before, after))
    runs = len(after.assignment)
    if given.shape != (runs,) or given.dtype.kind not in "biuf":
        raise ValueError(
            f"reward={reward!r} returned {given.dtype} of shape {list(given.shape)}: it must return one number per "
            f"run, here an array of shape [{runs}]."
        )
    return given.astype(np.float32)
