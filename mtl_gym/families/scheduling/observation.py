"""Observations of schedulers: the space of both, and the progress of runs as features, which rules see."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mtl_gym.core.episode import Floats
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
