"""Learning curves of the agents of a comparison.

Source: Rosenbaum et al. 2018, figures 4 to 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    agents by their final figure, the best first.

    Args:
        runs: Curves of each agent's seeds, by agent name; the curves of an agent share their evaluation points.
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
    figure, axes = figure_with_legend(list(runs), title)
    for number, agent in enumerate(_ranked(means, measure)):
        _draw_curve(axes, agent, means[agent], runs[agent], in_epochs, number)
    axes.set_xlabel("epochs" if in_epochs else "decisions", color=INK)
    axes.xaxis.set_major_formatter("{x:g}" if in_epochs else "{x:,.0f}")
    axes.set_ylabel(f"validation {measure}", color=INK, parse_math=False)
    axes.set_xlim(left=0)
    add_legend(figure)
    seeds = sorted({len(curves) for curves in runs.values()})
    if seeds[-1] > 1:
        count = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        add_caption(figure, f"Line: mean over {count} seeds; band: from the lowest to the highest.")
    return figure


def _ranked(means: Mapping[str, Curve], measure: Measure) -> list[str]:
    return sorted(means, key=lambda agent: means[agent].figure[-1], reverse=measure.higher)


def _draw_curve(axes: Axes, agent: str, mean: Curve, curves: Sequence[Curve], in_epochs: bool, number: int) -> None:
    x = mean.epochs if in_epochs else mean.decisions
    look = line_style(number)
    axes.plot(x, mean.figure, label=agent, lw=1.8, marker="o", ms=3, **look)
    if len(curves) > 1:
        all_runs = np.stack([curve.figure for curve in curves])
        axes.fill_between(x, all_runs.min(0), all_runs.max(0), color=look["color"], alpha=0.18, lw=0)


def _mean(agent: str, curves: Sequence[Curve]) -> Curve:
    first = curves[0]
    if not all(np.array_equal(curve.decisions, first.decisions) for curve in curves):
        raise ValueError(
            f"The runs of {agent!r} were evaluated at different decisions and have no mean curve; drop the odd ones."
        )
    epochs, figure = (np.mean([getattr(curve, name) for curve in curves], 0) for name in ("epochs", "figure"))
    return Curve(first.decisions, epochs, figure)
