"""Observations of schedulers: the space of both, the progress of runs as features, and the features of each task."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import AnySpace
from mtl_gym.families.scheduling.progress import Progress

# Upper bound of observed losses, in units of the loss at chance.
LARGEST = 10.0


def observation_space(tasks: int, bins: int) -> spaces.Box:
    """Return the space of histograms of `bins` bins or, without bins, of the progress."""
    if bins:
        return spaces.Box(0, 1, (tasks * bins,), np.float32)
    return spaces.Box(0, LARGEST, (3 * tasks + 1,), np.float32)


def progress_features(progress: Progress, classes: NDArray[np.int64], updates: int) -> Floats:
    """Return the progress of runs as features, finite and in [0, LARGEST]; float32 [runs, 3 * tasks + 1].

    They are, one value per task each: validation losses, in units of log(classes), the loss at chance, and at most
    LARGEST; validation accuracies; gradient steps on the task, as a share of the run. The last feature is the share of
    the run that is left.

    Args:
        progress: Measured progress.
        classes: Number of classes of each task; int64 [tasks].
        updates: Gradient steps of a whole run.

    Example:
        >>> start = Progress.none_yet(1, np.zeros(2, np.float32))
        >>> start.validation_loss[:], start.validation_accuracy[:] = np.log(2), 0.5
        >>> progress_features(start, np.array([2, 4]), updates=10).tolist()
        [[1.0, 0.5, 0.5, 0.5, 0.0, 0.0, 1.0]]
    """
    chance = np.log(np.maximum(classes, 2))
    left = 1 - progress.updates[:, None] / updates
    parts = (
        np.minimum(progress.validation_loss / chance, LARGEST),
        progress.validation_accuracy,
        progress.trained / updates,
        left,
    )
    return np.concatenate(parts, 1).astype(np.float32)


def features_of(space: AnySpace, tasks: int) -> int:
    """Return the number of features of a task in an observation, as `per_task` splits it.

    Raises:
        ValueError: If the observation does not have the same number of features for every task.

    Example:
        >>> features_of(spaces.Box(0, 1, (200,)), tasks=10), features_of(spaces.Box(0, 10, (31,)), tasks=10)
        (20, 4)
    """
    width = space.shape[0] if isinstance(space, spaces.Box) and len(space.shape) == 1 else 0
    each, common = divmod(width, tasks)
    if each == 0 or common > 1:
        raise ValueError(
            f"{space} has no equal number of features for each of {tasks} tasks: it takes a flat Box, {tasks} times so "
            "wide, or wider by the share of the run that is left."
        )
    return each + common


def per_task(observation: Tensor, tasks: int) -> Tensor:
    """Split observations of any scheduling environment by task; float32 [rows, width] -> [rows, tasks, features].

    Histograms stand task by task. The progress stands feature by feature, and after them the share of the run that is
    left, which every task is given.

    Example:
        >>> per_task(torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.5]]), tasks=2).tolist()
        [[[1.0, 3.0, 0.5], [2.0, 4.0, 0.5]]]
        >>> per_task(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), tasks=2).tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    if observation.shape[1] % tasks == 0:
        return observation.unflatten(1, (tasks, -1))
    own = observation[:, :-1].unflatten(1, (-1, tasks)).transpose(1, 2)
    return torch.cat([own, observation[:, None, -1:].expand(-1, tasks, -1)], -1)
