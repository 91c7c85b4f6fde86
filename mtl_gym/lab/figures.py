"""Pictures that compare agents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mtl_gym.core import figures as pictures
from mtl_gym.core.figures import FAINT, INK
from mtl_gym.lab.records import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def task_accuracies(results: Sequence[RunResult], title: str | None = None) -> Figure:
    """Draw the test accuracy of every agent on every task, mean over seeds, best agent on top.

    Args:
        results: Runs with the same tasks.
        title: Title of the picture.

    Raises:
        ValueError: If there is no run, or the runs differ in their tasks.
    """
    tasks = {tuple(result.per_task) for result in results}
    if len(tasks) != 1:
        raise ValueError(f"The picture needs runs with the same tasks; these have {sorted(tasks)}.")
    names = dict.fromkeys(result.settings.name for result in results)
    means = {name: _mean([r for r in results if r.settings.name == name]) for name in names}
    best = sorted(means, key=lambda name: -float(means[name].mean()))
    values = np.stack([means[name] for name in best])
    (labels,) = tasks
    size = (1 + _room(best) + 0.55 * len(labels), 1 + _room(labels) + 0.3 * len(best))
    return pictures.figure_of(partial(_draw, values=values, agents=best, tasks=labels, title=title), size)


def _room(labels: Sequence[str]) -> float:
    """Return the length of the longest label, in inches."""
    return 0.08 * max(map(len, labels))


def _mean(results: Sequence[RunResult]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 100 * np.array([list(result.per_task.values()) for result in results]).mean(0)


def _draw(
    figure: Figure,
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    agents: Sequence[str],
    tasks: Sequence[str],
    title: str | None,
) -> None:
    axes = figure.subplots()
    # Tasks differ more than agents, so each task has its own colour scale.
    low, high = values.min(0), values.max(0)
    axes.pcolormesh((values - low) / np.maximum(high - low, 1e-9), cmap="Blues", vmin=0, vmax=1.6, edgecolors="white")
    for row, column in np.ndindex(*values.shape):
        axes.text(column + 0.5, row + 0.5, f"{values[row, column]:.1f}", ha="center", va="center", size=7, color=INK)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(tasks)) + 0.5, tasks, rotation=90, parse_math=False)
    axes.set_yticks(np.arange(len(agents)) + 0.5, agents, parse_math=False)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_color(FAINT)
    figure.supxlabel("Test accuracy in %, mean over seeds; the darker, the better on that task.", fontsize=8, color=INK)
    if title is not None:
        figure.suptitle(title, color=INK, fontsize=10)
