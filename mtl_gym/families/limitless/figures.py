"""Pictures of finished runs: accuracy and unused modules, epoch after epoch.

Source: LRN, figures 2 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.figures import COLOURS, INK, figure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("epoch", "accuracy", "modules_unused")


@dataclass(frozen=True)
class Course:
    """How one run went.

    Attributes:
        epoch: Passes over the training data; float64 [evaluations].
        accuracy: Mean over tasks; float64 [evaluations].
        unused: Modules that no network of the evaluated split had; float64 [evaluations].

    Example:
        >>> Course(np.array([1.0]), np.array([0.9]), np.array([4.0])).unused
        array([4.])
    """

    epoch: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    unused: NDArray[np.float64]

    @classmethod
    def of(cls, curves: Mapping[str, NDArray[np.float64]]) -> Course:
        """Return the course in the columns of a run's `progress.csv`, by name."""
        return cls(*(curves[name] for name in COLUMNS))


def accuracy_and_unused(runs: Mapping[str, Sequence[Course]], title: str | None = None) -> Figure:
    """Draw accuracy to the left and unused modules to the right, a line per agent: the mean over its runs.

    Args:
        runs: By the agent's name, the courses of its seeds, all evaluated equally often.
        title: Drawn above.

    Raises:
        ValueError: If an agent's runs were not evaluated equally often, or there is none.

    Source: LRN, figures 2 to 7. Deviation: a band from the lowest to the highest run.
    """
    if not runs or not all(runs.values()):
        raise ValueError("There is nothing to draw: pass one agent or more, each with one run or more.")
    for agent, courses in runs.items():
        if len({len(course.epoch) for course in courses}) > 1:
            raise ValueError(f"The runs of {agent!r} were not evaluated equally often; draw them one by one.")
    return figure_of(lambda figure: _draw(figure, runs, title), (10.5, 4.5))


def _draw(figure: Figure, runs: Mapping[str, Sequence[Course]], title: str | None) -> None:
    panels = figure.subplots(1, 2)
    for number, (agent, courses) in enumerate(runs.items()):
        epoch = np.mean([course.epoch for course in courses], 0)
        figures = (100 * np.array([course.accuracy for course in courses]), np.array([c.unused for c in courses]))
        for axes, values in zip(panels, figures, strict=True):
            axes.plot(epoch, values.mean(0), color=COLOURS[number % len(COLOURS)], label=agent)
            band = {"color": COLOURS[number % len(COLOURS)], "alpha": 0.2, "lw": 0}
            axes.fill_between(epoch, values.min(0), values.max(0), **band)
    for axes, label in zip(panels, ("accuracy in %", "modules that no network has"), strict=True):
        axes.set_xlabel("epochs", color=INK)
        axes.set_ylabel(label, color=INK)
    panels[1].legend(fontsize=8, frameon=False)
    if title is not None:
        figure.suptitle(title, color=INK)
