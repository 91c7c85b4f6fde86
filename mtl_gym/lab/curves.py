"""Learning curves of the agents of a comparison.

Source: Rosenbaum et al. 2018, figures 4 to 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.figures import INK, add_caption, add_legend, figure_with_legend, line_style
from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.lab.files import read_progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Validation curve of one run.

    Attributes:
        decisions: Decisions before each evaluation, int64 [evaluations].
        epochs: Passes over the training data before each evaluation, NaN if unknown; float64 [evaluations].
        figure: Figure on the validation split, in the unit of the measure; float64 [evaluations].
    """

    decisions: NDArray[np.int64]
    epochs: Floats
    figure: Floats

    def __len__(self) -> int:
        """Return the number of evaluations."""
        return len(self.decisions)

    def begins(self, other: Curve) -> bool:
        """Return whether the evaluations so far were made where the first of `other` were."""
        return np.array_equal(self.decisions, other.decisions[: len(self)])


def read_curve(path: Path) -> Curve:
    """Return the validation figures in a run's `progress.csv`; its epochs are NaN if it has none.

    Runs from before environments had a measure have accuracies only.

    Raises:
        CheckpointError: If the file is damaged.
    """
    columns = read_progress(path, ("figure",))
    figure = columns.get("figure", 100 * columns["accuracy"])
    return Curve(columns["steps"].astype(np.int64), columns["epoch"], figure)


def learning_curves(
    runs: Mapping[str, Sequence[Curve]], title: str | None = None, measure: Measure = ACCURACY
) -> Figure:
    """Draw validation figures over epochs, or over decisions if a run has no epochs.

    Each agent gets a line, the mean over its runs, in a band from the lowest run to the highest. The legend orders
    agents by their final figure, the best first; colours follow the order of `runs`.

    Args:
        runs: Curves of each agent's seeds, by agent name; the curves of an agent share their evaluation points, as far
            as each has come.
        title: Title of the picture.
        measure: Name, unit and direction of the figures.

    Raises:
        ValueError: If there is no curve, or an agent's runs were evaluated at different decisions.

    Source: Rosenbaum et al. 2018, figures 4 to 8; the paper shows single runs.
    """
    if not runs or not all(runs.values()):
        raise ValueError("There is no curve to draw: give one agent or more, each with one run or more.")
    means = {agent: _mean(agent, curves) for agent, curves in runs.items()}
    in_epochs = bool(all(np.isfinite(mean.epochs).all() for mean in means.values()))
    figure, (axes,) = figure_with_legend(list(runs), title)
    numbers = {agent: number for number, agent in enumerate(runs)}
    for agent in _ranked(means, measure):
        _draw_curve(axes, agent, means[agent], runs[agent], in_epochs, numbers[agent])
    axes.set_xlabel("epochs" if in_epochs else "decisions", color=INK)
    axes.xaxis.set_major_formatter("{x:g}" if in_epochs else "{x:,.0f}")
    axes.set_ylabel(f"validation {measure}", color=INK, parse_math=False)
    axes.set_xlim(left=0)
    add_legend(figure)
    _add_caption(figure, runs)
    return figure


def _add_caption(figure: Figure, runs: Mapping[str, Sequence[Curve]]) -> None:
    seeds = sorted({len(curves) for curves in runs.values()})
    if seeds[-1] > 1:
        count = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        ragged = any(len(set(map(len, curves))) > 1 for curves in runs.values())
        so_far = ", at each point over those that have reached it" if ragged else ""
        add_caption(figure, f"Line: mean over {count} seeds{so_far}; band: from the lowest to the highest.")


def _ranked(means: Mapping[str, Curve], measure: Measure) -> list[str]:
    return sorted(means, key=lambda agent: means[agent].figure[-1], reverse=measure.higher)


def _draw_curve(axes: Axes, agent: str, mean: Curve, curves: Sequence[Curve], in_epochs: bool, number: int) -> None:
    x = mean.epochs if in_epochs else mean.decisions
    look = line_style(number)
    axes.plot(x, mean.figure, label=agent, lw=1.8, marker="o", ms=3, **look)
    if len(curves) > 1:
        low, high = (_at_each(curves, "figure", end) for end in (np.min, np.max))
        axes.fill_between(x, low, high, color=look["color"], alpha=0.18, lw=0)


def _mean(agent: str, curves: Sequence[Curve]) -> Curve:
    longest = max(curves, key=len)
    if not all(curve.begins(longest) for curve in curves):
        raise ValueError(
            f"The runs of {agent!r} were evaluated at different decisions and have no mean curve; drop the odd ones."
        )
    return Curve(longest.decisions, *(_at_each(curves, name, np.mean) for name in ("epochs", "figure")))


def _at_each(curves: Sequence[Curve], name: str, function: Callable[[list[float]], np.floating]) -> Floats:
    """Return a function of the runs' values at each evaluation, over the runs that have come to it."""
    columns = [getattr(curve, name) for curve in curves]
    longest = max(map(len, columns))
    return np.array([function([column[at] for column in columns if at < len(column)]) for at in range(longest)])
