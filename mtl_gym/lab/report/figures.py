"""Pictures of a report: estimates with intervals, performance profiles, learning curves.

Source: Agarwal et al. 2021, figures 1 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from mtl_gym.core.figures import COLOURS, FAINT, INCHES_PER_CHARACTER, INK, figure_of
from mtl_gym.core.measure import Measure
from mtl_gym.core.rows import Array
from mtl_gym.lab.report.aggregate import HIGHEST, LOWEST, Floats, Statistics
from mtl_gym.lab.report.efficiency import Efficiency
from mtl_gym.lab.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class TextStyle(TypedDict):
    """Style of a text beside a line."""

    va: Literal["center"]
    color: str
    size: int


GRID = "#e8e8e8"
# Maximum number of lines that share axes.
TOGETHER = 3
SCORE = "score: 0 best control, 1 optimum"


def draw_metrics(statistics: Statistics, title: str) -> Figure:
    """Draw all metrics of every agent, best agent on top; for one comparison only the interquartile mean."""
    several = len(statistics.scores.comparisons) > 1
    metrics = statistics.metrics if several else {"": statistics.metrics["interquartile mean"]}
    label = SCORE if several else f"interquartile mean of the {SCORE}"
    return _draw_panels(metrics, statistics.ranking, title, label, (0, 1), (LOWEST, HIGHEST))


def draw_improvement(statistics: Statistics, title: str) -> Figure:
    """Draw the probability that a run of each agent beats a run of the control."""
    names = [name for name in statistics.ranking if name in statistics.improvement]
    label = f"probability that a run is better than one of {statistics.control}"
    return _draw_panels({"": statistics.improvement}, names, title, label, (0, 0.5, 1), (0, 1))


def draw_differences(apart: Mapping[str, Estimate], control: str, measure: Measure, title: str) -> Figure:
    """Draw the test figure of every agent minus that of the control, in the given order."""
    percent = measure.unit == "%"
    label = f"{measure.name} minus that of {control}" + (", percentage points" if percent else "")
    return _draw_panels({"": apart}, list(apart), title, label, (0,), (-100, 100) if percent else (-np.inf, np.inf))


def _draw_panels(
    panels: Mapping[str, Mapping[str, Estimate]],
    names: Sequence[str],
    title: str,
    label: str,
    marks: Sequence[float],
    bounds: tuple[float, float],
) -> Figure:
    """Draw a panel per metric and a line per agent, with reference lines at `marks` and axes within `bounds`."""
    size = (2.8 + 2.6 * len(panels) + INCHES_PER_CHARACTER * max(map(len, names)), 1.4 + 0.24 * len(names))

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (panel, estimates) in zip(all_axes, panels.items(), strict=True):
            _prepare(axes, panel)
            axes.set_xlim(_limits([estimates[name] for name in names], marks, bounds))
            for mark in marks:
                axes.axvline(mark, color=FAINT, lw=1, zorder=0)
            for row, name in enumerate(names):
                _draw_estimate(axes, row, estimates[name])
        all_axes[0].set_yticks(range(len(names)), names, parse_math=False)
        all_axes[0].set_ylim(len(names) - 0.4, -0.6)
        figure.suptitle(title, color=INK, fontsize=11, parse_math=False)
        figure.supxlabel(label, color=INK, fontsize=9, parse_math=False)

    return figure_of(draw, size)


def _limits(estimates: Sequence[Estimate], marks: Sequence[float], bounds: tuple[float, float]) -> tuple[float, float]:
    ends = [end for e in estimates for end in (e.value, e.low, e.high) if not np.isnan(end)]
    low, high = max(min(*ends, *marks), bounds[0]), min(max(*ends, *marks), bounds[1])
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_estimate(axes: Axes, row: int, estimate: Estimate) -> None:
    low, high = axes.get_xlim()
    axes.hlines(row, estimate.low, estimate.high, color=COLOURS[0], lw=5, alpha=0.45)
    if low <= estimate.value <= high:
        axes.plot(estimate.value, row, "o", color=INK, ms=4)
    # Values outside are labelled at the edge: an axis that included them would compress all others.
    side: TextStyle = {"va": "center", "color": INK, "size": 8}
    if min(estimate.value, np.nan_to_num(estimate.low)) < low:
        axes.text(low, row, "◂" + (f" {estimate.value:.1f}" if estimate.value < low else ""), ha="left", **side)
    if max(estimate.value, np.nan_to_num(estimate.high)) > high:
        axes.text(high, row, (f"{estimate.value:.1f} " if estimate.value > high else "") + "▸", ha="right", **side)


def draw_profiles(statistics: Statistics, title: str) -> Figure:
    """Draw the share of runs above every score; a line that falls further right is better."""
    shares = {name: statistics.profiles[name] for name in statistics.ranking}
    return _draw_lines(statistics.thresholds, shares, title, (SCORE, "share of runs above that score"), "y")


def draw_efficiency(efficiency: Efficiency, title: str) -> Figure:
    """Draw the interquartile mean of validation scores over the completed share of training."""
    last = {name: curve[0, -1] for name, curve in efficiency.curves.items()}
    curves = {name: efficiency.curves[name] for name in sorted(last, key=lambda name: -last[name])}
    labels = ("completed share of training", "validation score (0 best control, 1 optimum)")
    return _draw_lines(efficiency.shares, curves, title, labels, "x")


def _draw_lines(x: Floats, lines: Mapping[str, Floats], title: str, labels: tuple[str, str], percent: str) -> Figure:
    """Draw lines with interval bands, each float64 [3, points]: a few in shared axes, many in separate axes."""
    together = len(lines) <= TOGETHER
    columns = 1 if together else 4
    rows = -(-len(lines) // columns) if not together else 1
    size = (7.7 + INCHES_PER_CHARACTER * max(map(len, lines)), 4.3) if together else (10.5, 0.9 + 1.5 * rows)

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in all_axes[len(lines) :] if not together else ():
            axes.set_visible(False)
        for axes in all_axes[: 1 if together else len(lines)]:
            _prepare(axes, "")
            axes.grid(color=GRID, lw=0.6)
        _draw_together(all_axes[0], x, lines) if together else _draw_apart(list(all_axes), x, lines, columns)
        getattr(all_axes[0], f"{percent}axis").set_major_formatter("{x:.0%}")
        all_axes[0].set_xlim(x[0], x[-1])
        all_axes[0].set_ylim(_line_limits(np.stack([value for value, _, _ in lines.values()])))
        figure.suptitle(title, color=INK, fontsize=11, parse_math=False)
        figure.supxlabel(labels[0], color=INK, fontsize=9, parse_math=False)
        figure.supylabel(labels[1], color=INK, fontsize=9, parse_math=False)

    return figure_of(draw, size)


def _draw_together(axes: Axes, x: Floats, lines: Mapping[str, Floats]) -> None:
    for colour, (name, (value, low, high)) in zip(COLOURS, lines.items(), strict=False):
        axes.plot(x, value, label=name, lw=1.8, color=colour)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    legend = axes.figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_apart(all_axes: Sequence[Axes], x: Floats, lines: Mapping[str, Floats], columns: int) -> None:
    """Draw each line in separate axes, with all others in grey: more than a few bands hide each other."""
    for number, (axes, (name, (value, low, high))) in enumerate(zip(all_axes, lines.items(), strict=False)):
        for other, _, _ in lines.values():
            axes.plot(x, other, color=FAINT, lw=0.6, alpha=0.7)
        axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.3, lw=0)
        axes.plot(x, value, color=COLOURS[0], lw=2)
        axes.set_title(name, color=INK, fontsize=9, parse_math=False)
        axes.tick_params(labelbottom=number + columns >= len(lines))


def _line_limits(values: Array) -> tuple[float, float]:
    low, high = max(float(values.min()), LOWEST), min(float(values.max()), HIGHEST)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _prepare(axes: Axes, title: str) -> None:
    axes.set_title(title, color=INK, fontsize=10, parse_math=False)
    axes.grid(color=GRID, lw=0.6, axis="x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)
