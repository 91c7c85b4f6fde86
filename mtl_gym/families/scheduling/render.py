"""Pictures of training runs: uncertainty, schedules and learning curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core import figures as pictures
from mtl_gym.core.episode import Floats
from mtl_gym.core.figures import COLOURS, FAINT, INK
from mtl_gym.families.scheduling.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW = "mtl_gym: schedule"
SEEN = "Schedule: which tasks are trained when, and what they reach"
MOST_COLUMNS = 5
# Name of the curves of a timeline.
ACCURACY = "validation accuracy"


def show(
    mode: str | None,
    histogram: Floats,
    line: Timeline,
    task_names: Sequence[str],
    weights: Floats | None = None,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Render the current histograms, if there are any, above the timeline of the run.

    Args:
        mode: Render mode.
        histogram: Histograms of the first run; float32 [tasks, bins].
        line: Timeline of the runs so far.
        task_names: One name per task.
        weights: Weight of each task in the last decision, drawn beside the timeline; float32 [tasks], or None.
        heading: Function that returns the lines above the picture.
    """
    width, height = _size(task_names)
    draw = partial(_draw_all, histogram=histogram, line=line, task_names=task_names, weights=weights)
    text = partial(ansi, histogram, line, task_names)
    above = _heat_height(task_names) if histogram.size else 0.0
    return pictures.show(mode, draw, text, (width, height + above), WINDOW, heading)


def show_timeline(
    mode: str | None,
    text: Callable[[], str],
    line: Timeline,
    task_names: Sequence[str],
    curve: str,
    weights: Floats | None = None,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Render the timeline of the runs so far, or a text; arguments as for `show` and `timeline`."""
    draw = partial(_draw_timeline, line=line, task_names=task_names, title=None, weights=weights, curve=curve)
    return pictures.show(mode, draw, text, _size(task_names), WINDOW, heading)


def reached(line: Timeline, curve: str = ACCURACY) -> str:
    """Return the mean accuracy that runs have reached, in words; empty before the first decision."""
    known = line.mean_accuracy[np.isfinite(line.mean_accuracy)]
    return f"mean {curve} {known[-1]:.1%}" if len(known) else ""


def timeline(line: Timeline, task_names: Sequence[str], title: str | None = None, curve: str = ACCURACY) -> Figure:
    """Draw the schedule of trained tasks above the learning curves.

    Args:
        line: Timeline of one or more runs; shares and curves are means over runs.
        task_names: One name per task.
        title: Title above the picture.
        curve: Name of what the curves show.

    Raises:
        ValueError: If the number of names differs from the number of tasks.
    """
    draw = partial(_draw_timeline, line=line, task_names=task_names, title=title, curve=curve)
    return pictures.figure_of(draw, _size(task_names))


def histograms_over_time(line: Timeline, task_names: Sequence[str], title: str | None = None) -> Figure:
    """Draw each task's histogram of uncertainty over the first run; arguments as for `timeline`."""
    columns = min(MOST_COLUMNS, len(task_names))
    rows = ceil(len(task_names) / columns)
    draw = partial(_draw_histograms, line=line, task_names=task_names, title=title, shape=(rows, columns))
    return pictures.figure_of(draw, (2.2 * columns + 1, 1.7 * rows + 1.2))


def ansi(histogram: Floats, line: Timeline, task_names: Sequence[str]) -> str:
    """Return a table of each task's mean uncertainty, if it is measured, share of the training so far, and accuracy.

    Example:
        >>> line = Timeline.empty(runs=1, tasks=2, bins=2, steps=4)
        >>> accuracy, histogram = np.array([[0.5, 0.75]]), np.array([[0.0, 1.0], [0.5, 0.5]])
        >>> line.add(0, np.array([[1.0, 0.0]]), accuracy, 1 - accuracy, histogram)
        >>> print(ansi(histogram, line, ["easy", "hard"]))
        task  uncertainty  trained  accuracy
        easy         0.75     100%     50.0%
        hard         0.50       0%     75.0%
    """
    _check(line, task_names)
    total = line.trained.sum((0, 1))
    columns = [("task", *task_names), ("trained", *(f"{share:.0%}" for share in total / max(total.sum(), 1e-9)))]
    columns.append(("accuracy", *(f"{right:.1%}" for right in _last(line.accuracy))))
    if histogram.size:
        columns.insert(1, ("uncertainty", *(f"{unsure:.2f}" for unsure in _mean_uncertainty(histogram))))
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return "\n".join("  ".join((f"{row[0]:{widths[0]}}", *map(str.rjust, row[1:], widths[1:]))) for row in rows)


def _mean_uncertainty(histogram: Floats) -> Floats:
    bins = histogram.shape[1]
    mean: Floats = histogram @ ((np.arange(bins) + 0.5) / bins)
    return mean


def _last(curves: Floats) -> Floats:
    """Return the last known value of curves [parts, runs, tasks], averaged over runs; NaN if there is none."""
    known = np.flatnonzero(np.isfinite(curves[:, 0, 0]))
    return curves[known[-1]].mean(0) if len(known) else np.full(curves.shape[2], np.nan)


def _check(line: Timeline, task_names: Sequence[str]) -> None:
    if line.trained.shape[2] != len(task_names):
        tasks = line.trained.shape[2]
        raise ValueError(f"{len(task_names)} task_names do not fit a timeline of {tasks} tasks: give {tasks} names.")


def _size(task_names: Sequence[str]) -> tuple[float, float]:
    return 9.0, 4.0 + _heat_height(task_names)


def _heat_height(task_names: Sequence[str]) -> float:
    return 0.7 + 0.2 * len(task_names)


def _draw_all(
    figure: Figure, histogram: Floats, line: Timeline, task_names: Sequence[str], weights: Floats | None
) -> None:
    if not histogram.size:
        _draw_timeline(figure, line, task_names, None, weights)
        return
    heights = (_heat_height(task_names), _heat_height(task_names) + 4.0)
    parts = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_now(parts[0].subplots(), histogram, task_names)
    _draw_timeline(parts[1], line, task_names, None, weights)


def _draw_now(axes: Axes, histogram: Floats, task_names: Sequence[str]) -> None:
    _heat(axes, histogram, np.linspace(0, 1, histogram.shape[1] + 1), task_names)
    axes.set_title("Current uncertainty of the hardest validation samples", fontsize=9, color=INK)
    axes.set_xlabel("uncertainty (colour: share of samples)", fontsize=8, color=INK)


def _draw_timeline(
    figure: Figure,
    line: Timeline,
    task_names: Sequence[str],
    title: str | None,
    weights: Floats | None = None,
    curve: str = ACCURACY,
) -> None:
    _check(line, task_names)
    heights = (_heat_height(task_names), 3.2)
    if weights is None:
        heat, curves = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    else:
        parts = figure.subplots(2, 2, sharex="col", height_ratios=heights, width_ratios=(8, 1))
        heat, curves = parts[:, 0]
        _draw_decision(parts[0, 1], parts[1, 1], weights)
        _mark_now(curves, line)
    edges = np.concatenate([[0], line.step])
    shares = line.shares.T
    _heat(heat, shares, edges, task_names, highest=np.nanmax(shares, initial=1e-9))
    heat.set_title("Share of the training (darkest: largest share)", fontsize=9, color=INK)
    _draw_curves(curves, line, task_names)
    curves.set_ylabel(curve, fontsize=8, color=INK)
    if title is not None:
        figure.suptitle(title, color=INK, fontsize=10)


def _draw_decision(bars: Axes, below: Axes, weights: Floats) -> None:
    """Draw the weights of the last decision as bars beside the lines of their tasks."""
    below.axis("off")  # the legend of the curves stands here
    bars.barh(np.arange(len(weights)) + 0.5, weights, 0.6, color=COLOURS[1])
    bars.set(xlim=(0, 1), ylim=(len(weights), 0))
    bars.set_title("Last decision", fontsize=9, color=INK)
    bars.set_yticks([])
    bars.set_xticks([0, 1])
    bars.tick_params(length=0, labelsize=7, labelcolor=INK, labelbottom=True)
    bars.spines[:].set_color(FAINT)


def _mark_now(axes: Axes, line: Timeline) -> None:
    """Draw a line at the last decision, dots at its figures, and the range of all accuracies."""
    known = np.flatnonzero(np.isfinite(line.mean_accuracy))
    lowest = np.nanmin(line.accuracy, initial=0)
    axes.set(ylim=(1.05 * lowest - 0.02, 1.02), xlim=(0, line.step[-1]))
    if len(known):
        now, accuracy = line.step[known[-1]], line.accuracy[known[-1]].mean(0)
        axes.axvline(now, color=INK, lw=0.8, ls="dotted")
        colours = [COLOURS[task % len(COLOURS)] for task in range(len(accuracy))]
        axes.scatter(np.full(len(accuracy), now), accuracy, s=14, c=colours, zorder=3)


def _heat(
    axes: Axes, values: Floats, edges: NDArray[np.generic], task_names: Sequence[str], highest: float = 1
) -> None:
    axes.pcolormesh(edges, np.arange(len(task_names) + 1), values, cmap="Blues", vmin=0, vmax=highest)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(task_names)) + 0.5, task_names, parse_math=False)
    axes.tick_params(length=0, labelsize=7, labelcolor=INK)
    axes.spines[:].set_color(FAINT)


def _draw_curves(axes: Axes, line: Timeline, task_names: Sequence[str]) -> None:
    means = line.accuracy.mean(1)
    for number, name in enumerate(task_names):
        style = "-" if number < len(COLOURS) else "--"
        axes.plot(line.step, means[:, number], style, color=COLOURS[number % len(COLOURS)], lw=0.9, label=name)
    axes.plot(line.step, line.mean_accuracy, color=INK, lw=2, label="mean")
    axes.set_xlabel("decisions", fontsize=8, color=INK)
    axes.tick_params(labelsize=7, labelcolor=INK, color=FAINT)
    axes.spines[:].set_color(FAINT)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _draw_histograms(
    figure: Figure, line: Timeline, task_names: Sequence[str], title: str | None, shape: tuple[int, int]
) -> None:
    _check(line, task_names)
    grid = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).flat
    bins = np.linspace(0, 1, line.histogram.shape[2] + 1)
    for number, axes in enumerate(grid):
        if number >= len(task_names):
            axes.axis("off")
            continue
        axes.pcolormesh(np.concatenate([[0], line.step]), bins, line.histogram[:, number].T, cmap="Blues", vmin=0)
        axes.set_title(task_names[number], fontsize=8, color=INK, parse_math=False)
        axes.tick_params(labelsize=7, labelcolor=INK, color=FAINT)
        axes.spines[:].set_color(FAINT)
    figure.supxlabel("decisions", fontsize=8, color=INK)
    figure.supylabel("uncertainty", fontsize=8, color=INK)
    if title is not None:
        figure.suptitle(title, color=INK, fontsize=10)
