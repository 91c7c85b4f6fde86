"""Routing patterns: the sub-encoders of each task by time step, and their overlap between tasks.

Source: Xu et al. 2021 (MT-RMN), figure 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core import figures as pictures
from mtl_gym.core.figures import COLOURS, FAINT, INK
from mtl_gym.families.recurrent.connections import ConnectionLayout, letter
from mtl_gym.families.recurrent.usage import overlap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]

WINDOW = "mtl_gym: routing patterns"
STEPS_SHOWN = 28
MARKED = "Dots: sub-encoders of the sequence under way; the frame is its last time step. Shares: of about 200 episodes."
CAPTION = """Left: share of a task's sequences that take a sub-encoder at a time step, white 0%, darkest 100%.
Middle: share of each task in the use of a sub-encoder. Right: overlap of two tasks, mean over time steps."""


@dataclass(frozen=True)
class Mark:
    """The connections of one sequence: its task, and for each time step so far bool [connections]."""

    task: str
    actions: Sequence[NDArray[np.generic]]


def show(
    mode: str | None,
    shares: Floats,
    layout: ConnectionLayout,
    task_names: Sequence[str],
    mark: Mark | None = None,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Return pixels for "rgb_array", text for "ansi", else None; other arguments as for `routing_patterns`."""
    draw = partial(_draw, shares=shares, layout=layout, task_names=task_names, title=None, mark=mark)
    text = partial(ansi, shares, layout, task_names)
    return pictures.show(mode, draw, text, _size(layout, task_names), WINDOW, heading)


def routing_patterns(
    shares: Floats, layout: ConnectionLayout, task_names: Sequence[str], title: str | None = None
) -> Figure:
    """Draw the use of sub-encoders by task and time step, the shares of tasks, and the overlap of tasks.

    Args:
        shares: Share of a task's sequences in which a connection was on; float64 [tasks, steps, connections].
        layout: Layout of the connections.
        task_names: One name per task.
        title: Title of the figure.

    Raises:
        ValueError: If the shape of `shares` does not match layout and names.

    Source: MT-RMN, figure 4. Deviation: the sub-encoders of a task are rows and time steps are columns; the overlap is
    ours.
    """
    draw = partial(_draw, shares=shares, layout=layout, task_names=task_names, title=title)
    return pictures.figure_of(draw, _size(layout, task_names))


def ansi(shares: Floats, layout: ConnectionLayout, task_names: Sequence[str]) -> str:
    """Return a table of the share of each sub-encoder by task, averaged over time steps.

    Example:
        >>> print(ansi(np.ones((1, 2, 4)) / 2, ConnectionLayout.of_layers((1, 2)), ["tagging"]))
        task     A     B
        tagging   50%   50%
    """
    taken = _taken(shares, layout, task_names).mean(1)
    width = max(len("task"), *map(len, task_names))
    head = "task".ljust(width) + "".join(f"  {name:<4}" for name in _names(layout))
    lines = [
        name.ljust(width) + "".join(f"  {share:4.0%}" for share in row)
        for name, row in zip(task_names, taken, strict=True)
    ]
    return "\n".join([head.rstrip(), *lines])


def _names(layout: ConnectionLayout) -> list[str]:
    return [letter(number) for number in range(max(layout.c2, 1))]


def _taken(shares: Floats, layout: ConnectionLayout, task_names: Sequence[str]) -> Floats:
    """Return the shares of connections to sub-decoders; [tasks, steps, sub-encoders]."""
    if shares.ndim != 3 or shares.shape[0] != len(task_names) or shares.shape[2] != max(layout.size, 1):
        raise ValueError(
            f"shares {shares.shape} do not fit {len(task_names)} tasks and {layout.size} connections; "
            "pass [tasks, steps, connections]."
        )
    return shares[:, :, layout.c1 :]


def _size(layout: ConnectionLayout, task_names: Sequence[str]) -> tuple[float, float]:
    height = 1.6 + len(task_names) * (0.25 + 0.16 * max(layout.c2, 1))
    return 11.0, ceil(2 * height) / 2


def _draw(
    figure: Figure,
    shares: Floats,
    layout: ConnectionLayout,
    task_names: Sequence[str],
    title: str | None,
    mark: Mark | None = None,
) -> None:
    taken = _taken(shares, layout, task_names)
    parts: Any = figure.subfigures(1, 3, width_ratios=(5, 3, 3))
    left, middle, right = parts
    panels = left.subplots(len(task_names), 1, squeeze=False, sharex=True)[:, 0]
    for axes, pattern, name in zip(panels, taken[:, :STEPS_SHOWN], task_names, strict=True):
        _draw_pattern(axes, pattern, name, _names(layout))
    if mark is not None and mark.task in task_names:
        _draw_mark(panels[list(task_names).index(mark.task)], mark, layout)
    panels[-1].set_xlabel("time step", color=INK, fontsize=8)
    _draw_shares(middle.subplots(), taken, task_names, _names(layout))
    _draw_overlap(right.subplots(), overlap(taken).mean(0), task_names)
    caption = CAPTION if mark is None else f"{MARKED}\n{CAPTION}"
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=INK)
    if title is not None:
        figure.suptitle(title, color=INK)


def _draw_mark(axes: Axes, mark: Mark, layout: ConnectionLayout) -> None:
    """Draw dots at the sub-encoders that one sequence takes, and a frame around its last time step."""
    from matplotlib.patches import Rectangle

    taken = np.array(mark.actions, bool)[:STEPS_SHOWN, layout.c1 : layout.size]
    step, unit = np.nonzero(taken)
    axes.scatter(step + 0.5, unit + 0.5, s=26, c="#ffa90e", edgecolors="black", linewidths=1, zorder=3)
    axes.set_title(mark.task, fontsize=8, color=INK, loc="left", pad=2, parse_math=False, fontweight="bold")
    if len(mark.actions) <= STEPS_SHOWN:
        frame = Rectangle((len(taken) - 1, 0), 1, taken.shape[1], fill=False, edgecolor="black", lw=2.5, zorder=4)
        axes.add_patch(frame)


def _draw_pattern(axes: Axes, pattern: Floats, task: str, names: Sequence[str]) -> None:
    axes.pcolormesh(pattern.T, cmap="Blues", vmin=0, vmax=1, edgecolors="#e8e8e8", linewidth=0.5)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.tick_params(length=0, labelsize=7, labelcolor=INK)
    axes.set_title(task, fontsize=8, color=INK, loc="left", pad=2, parse_math=False)
    axes.spines[:].set_color(FAINT)


def _draw_shares(axes: Axes, taken: Floats, task_names: Sequence[str], names: Sequence[str]) -> None:
    axes.set_xlabel("sub-encoder", fontsize=8, color=INK)
    axes.set_ylabel("share of its use", fontsize=8, color=INK)
    by_unit = taken.mean(1)
    by_unit = by_unit / np.maximum(by_unit.sum(0), 1e-9)
    bottom = np.zeros(len(names))
    for number, (name, share) in enumerate(zip(task_names, by_unit, strict=True)):
        axes.bar(names, share, bottom=bottom, color=COLOURS[number % len(COLOURS)], label=name.replace("$", r"\$"))
        bottom += share
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize=7, labelcolor=INK)
    axes.legend(fontsize=7, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _draw_overlap(axes: Axes, values: Floats, task_names: Sequence[str]) -> None:
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(values.shape):
        ink = "white" if values[row, column] > 0.6 else INK
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    places = np.arange(len(task_names))
    axes.set_xticks(places, task_names, rotation=90, parse_math=False)
    axes.set_yticks(places, task_names, parse_math=False)
    axes.tick_params(length=0, labelsize=7, labelcolor=INK)
