"""Figures of finished runs: accuracy and unused modules by epoch.

Source: LRN, figures 2 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.figures import INK, add_legend, figure_with_legend, line_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("epoch", "accuracy", "modules_unused")


@dataclass(frozen=True)
class Course:
    """Learning curves of one run.

    Attributes:
        epoch: Passes over the training data; float64 [evaluations].
        accuracy: Mean accuracy over tasks; float64 [evaluations].
        unused: Number of modules in no network of the evaluated split; float64 [evaluations].

    Example:
        >>> Course(np.array([1.0]), np.array([0.9]), np.array([4.0])).unused
        array([4.])
    """

    epoch: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    unused: NDArray[np.float64]

    @classmethod
    def of(cls, curves: Mapping[str, NDArray[np.float64]]) -> Course:
        """Return the course from the columns of `progress.csv`, keyed by name."""
        return cls(*(curves[name] for name in COLUMNS))


def accuracy_and_unused(runs: Mapping[str, Sequence[Course]], title: str | None = None) -> Figure:
    """Draw accuracy on the left and unused modules on the right, with one line per agent: the mean over its runs.

    Args:
        runs: Courses of the seeds of each agent, with equal numbers of evaluations, keyed by the agent's name.
        title: Title of the figure.

    Raises:
        ValueError: If an agent has no run, or its runs differ in the number of evaluations.

    Source: LRN, figures 2 to 7. Deviation: a band spans the lowest to the highest run.
    """
    if not runs or not all(runs.values()):
        raise ValueError("There are no runs to draw: pass at least one agent, each with at least one run.")
    for agent, courses in runs.items():
        if len({len(course.epoch) for course in courses}) > 1:
            raise ValueError(f"The runs of {agent!r} differ in their number of evaluations; draw them separately.")
    figure, panels = figure_with_legend(list(runs), title, panels=2)
    for number, (agent, courses) in enumerate(runs.items()):
        epoch, look = np.mean([course.epoch for course in courses], 0), line_style(number)
        figures = (100 * np.array([course.accuracy for course in courses]), np.array([c.unused for c in courses]))
        for axes, values in zip(panels, figures, strict=True):
            axes.plot(epoch, values.mean(0), label=agent, **look)
            axes.fill_between(epoch, values.min(0), values.max(0), color=look["color"], alpha=0.2, lw=0)
    for axes, label in zip(panels, ("accuracy in %", "unused modules"), strict=True):
        axes.set_xlabel("epochs", color=INK)
        axes.set_ylabel(label, color=INK)
    add_legend(figure)
    return figure
