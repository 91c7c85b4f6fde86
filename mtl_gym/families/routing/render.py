"""Routing map: tasks on top, the blocks of each depth below, and lines for the shares of blocks by task.

Source: Rosenbaum et al. 2018, figure 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core import figures as pictures
from mtl_gym.core.figures import COLOURS, DASHES, FAINT, INCHES_PER_CHARACTER, INK
from mtl_gym.core.rows import Rows
from mtl_gym.families.routing.group_strip import by_group, draw_strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

UsageCounts: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Floats: TypeAlias = NDArray[np.float64]

LEAST_SHARE = 0.05
MARKED = "Black: the last decision's task and choices so far. Shares: of about the last 200 episodes of each task."
WINDOW = "mtl_gym: routing map"
BOX_WIDTH, BOX_HEIGHT = 0.72, 0.3
CAPTION = f"""Lines: share of a task's episodes, {LEAST_SHARE:.0%} or more.
Boxes: darker for more use; dashed: unused.
Heat maps: share of a task's episodes, white 0%, darkest 100%; P is PASS."""


@dataclass(frozen=True)
class Mark:
    """The route of one input: its task, and the choices so far."""

    task: str
    choices: Sequence[int]


def show(
    mode: str | None,
    usage: UsageCounts,
    task_names: Sequence[str],
    dispatched: bool = False,
    groups: Rows | None = None,
    mark: Mark | None = None,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Return the rendering for `mode`: pixels for "rgb_array", text for "ansi", else None; warn if `mode` is None."""
    text = partial(ansi, usage, task_names, dispatched)
    usage, task_names, groups = by_group(usage, task_names, groups)
    shares = _shares(usage, task_names)
    draw = partial(_draw, shares=shares, task_names=task_names, dispatched=dispatched, groups=groups, mark=mark)
    return pictures.show(mode, draw, text, _size(shares, task_names), WINDOW, heading)


def ansi(usage: UsageCounts, task_names: Sequence[str], dispatched: bool = False) -> str:
    """Return a table of the most frequent choice of each task and depth, and of the blocks in use.

    Args:
        usage: As for `routing_map`.
        task_names: As for `routing_map`.
        dispatched: As for `routing_map`.

    Example:
        >>> print(ansi(np.array([[[3.0, 1.0, 0.0]], [[0.0, 0.0, 2.0]]]), ["cats", "dogs"]))
        task         depth 0
        cats         0 75%
        dogs         PASS 100%
        blocks used  2 of 2
    """
    shares = _shares(usage, task_names)
    table = [["task", *_depth_names(shares.shape[1], dispatched)]]
    table += [[name, *map(_favourite, row)] for name, row in zip(task_names, shares, strict=True)]
    table += [["blocks used", *_blocks_used(shares)]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def rgb_array(usage: UsageCounts, task_names: Sequence[str], dispatched: bool = False) -> NDArray[np.uint8]:
    """Return the routing map as pixels, uint8 [height, width, 3]; arguments of `routing_map`.

    Height and width are even, as video encoders want it, and stay the same as long as tasks and blocks do.
    """
    return pictures.pixels(routing_map(usage, task_names, dispatched=dispatched))


def routing_map(
    usage: UsageCounts,
    task_names: Sequence[str],
    title: str | None = None,
    *,
    dispatched: bool = False,
    groups: Rows | None = None,
) -> Figure:
    """Draw the use of blocks by tasks as lines, and below as one heat map of tasks x blocks per depth.

    Usage does not contain joint counts, so the flow of a task between blocks of consecutive depths is drawn as the
    product of its shares, as for independent choices. Lines under 5% are omitted. A block is in use if the shares of
    all tasks sum to 5% or more.

    Args:
        usage: Counts of the choices of each task at each depth, PASS last, zero without episodes; float
            [tasks, depth, blocks + 1].
        task_names: One name per task.
        title: Drawn above the map.
        dispatched: Label the first decision as the choice of an agent.
        groups: True group of each task, int64 [tasks]: tasks are ordered and coloured by it, under a strip of names.
            None if there are no groups.

    Raises:
        ValueError: If `usage` does not have three axes, or its first axis does not have one entry per name.
    """
    usage, task_names, groups = by_group(usage, task_names, groups)
    shares = _shares(usage, task_names)
    draw = partial(_draw, shares=shares, task_names=task_names, dispatched=dispatched, groups=groups)
    figure = pictures.figure_of(draw, _size(shares, task_names))
    if title is not None:
        figure.suptitle(title, color=INK)
    return figure


def _shares(usage: UsageCounts, task_names: Sequence[str]) -> Floats:
    """Return usage as shares of a task's episodes, zero without episodes; [tasks, depth, blocks + 1]."""
    if usage.ndim != 3 or len(usage) != len(task_names):
        raise ValueError(
            f"usage has shape {usage.shape} for {len(task_names)} task names; pass [tasks, depth, blocks + 1]."
        )
    total = usage.sum(2, keepdims=True, dtype=np.float64)
    return usage / np.where(total > 0, total, 1)


def _used(shares: Floats) -> NDArray[np.bool_]:
    """Return a mask of the choices in use; bool [depth, blocks + 1]."""
    return np.asarray(shares.sum(0) >= LEAST_SHARE)


def _blocks_used(shares: Floats) -> list[str]:
    return [f"{used[:-1].sum()} of {len(used) - 1}" for used in _used(shares)]


def _favourite(shares: Floats) -> str:
    """Return the name and share of the most frequent of [blocks + 1] choices, or "-"."""
    best = int(shares.argmax())
    return f"{_choice_name(best, len(shares))} {shares[best]:.0%}" if shares.any() else "-"


def _choice_name(choice: int, choices: int) -> str:
    return "PASS" if choice == choices - 1 else str(choice)


def _size(shares: Floats, task_names: Sequence[str]) -> tuple[float, float]:
    """Return width and height in inches; multiples of half an inch are an even number of pixels."""
    tasks, depth, choices = shares.shape
    name = INCHES_PER_CHARACTER * max(map(len, task_names))
    width = 0.5 + name + max(4.5, 0.42 * tasks, 0.48 * choices, 0.14 * depth * choices)
    height = 1.3 + 0.7 * name + sum(_heights(shares))
    return ceil(2 * width) / 2, ceil(2 * height) / 2


def _heights(shares: Floats) -> tuple[float, float]:
    """Return the heights of lines and heat maps in inches; wider maps are taller, which keeps lines steep."""
    tasks, depth, choices = shares.shape
    return (depth + 0.8) * (0.6 + 0.03 * max(tasks, choices)), max(0.6, 0.17 * tasks)


def _draw(
    figure: Figure,
    shares: Floats,
    task_names: Sequence[str],
    dispatched: bool,
    groups: Rows | None = None,
    mark: Mark | None = None,
) -> None:
    grid = figure.add_gridspec(2, shares.shape[1], height_ratios=_heights(shares))
    axes = figure.add_subplot(grid[0, :], frameon=False)
    names = _depth_names(shares.shape[1], dispatched)
    # Tasks of one group have its colour; without groups, each task has its own.
    kinds = np.arange(len(shares)) if groups is None else groups
    _draw_frame(axes, shares, task_names, names, kinds)
    if groups is not None:
        tasks, depth, choices = shares.shape
        draw_strip(axes, _task_x(tasks, choices), groups)
        axes.set_ylim(depth - 0.65, -1.45)
    _draw_lines(axes, shares, kinds)
    _draw_boxes(axes, shares)
    for depth in range(shares.shape[1]):
        heat_map = figure.add_subplot(grid[1, depth], title=names[depth])
        _draw_heat_map(heat_map, shares, depth, task_names)
    if mark is not None:
        _draw_mark(axes, shares, task_names, mark)
    caption = CAPTION if mark is None else f"{MARKED}\n{CAPTION}"
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=INK)


def _draw_mark(axes: Axes, shares: Floats, task_names: Sequence[str], mark: Mark) -> None:
    """Draw the route of one input as a thick line from its task through its choices."""
    from matplotlib.patheffects import Normal, withStroke

    if mark.task not in task_names:
        return
    tasks, depths, choices = shares.shape
    task, taken = list(task_names).index(mark.task), list(mark.choices)[:depths]
    x = np.array([_task_x(tasks, choices)[task], *_block_x(choices)[taken]])
    axes.scatter(x[0], -1, s=110, facecolors="none", edgecolors="black", linewidths=2.5, zorder=6)
    for depth, (start, end) in enumerate(pairwise(x)):
        line = _patch(start, end, depth)
        line.set_path_effects([withStroke(linewidth=5, foreground="white"), Normal()])
        axes.add_patch(line)
    names = {f"depth {depth} block {_choice_name(choice, choices)}" for depth, choice in enumerate(taken)}
    for box in axes.patches:
        if box.get_gid() in names:
            box.set(edgecolor="black", linewidth=3, linestyle="solid")


def _patch(start: float, end: float, depth: int) -> PathPatch:
    from matplotlib.patches import PathPatch

    return PathPatch(_curve(start, end, depth), fill=False, edgecolor="black", lw=2.5, zorder=3.5, gid="mark")


def _draw_frame(axes: Axes, shares: Floats, task_names: Sequence[str], depths: Sequence[str], kinds: Rows) -> None:
    """Draw labels of tasks and depths, and a dot per task in its colour, hollow without episodes."""
    tasks, depth, choices = shares.shape
    x, colours = _task_x(tasks, choices), [COLOURS[kind % len(COLOURS)] for kind in kinds]
    level = INCHES_PER_CHARACTER * max(map(len, task_names)) < (_size(shares, task_names)[0] - 1.5) / tasks
    tilt: dict[str, Any] = {} if level else {"rotation": 40, "ha": "left", "rotation_mode": "anchor"}
    axes.set(xlim=(-0.6, choices + 0.1), ylim=(depth - 0.65, -1.15))
    axes.set_xticks(x, task_names, parse_math=False, **tilt)
    axes.set_yticks(
        range(depth), [f"{name}\n{used} used" for name, used in zip(depths, _blocks_used(shares), strict=True)]
    )
    axes.tick_params(length=0, labelsize=9, labelcolor=INK, top=True, labeltop=True, bottom=False, labelbottom=False)
    fills = [colour if seen.any() else "white" for colour, seen in zip(colours, shares, strict=True)]
    axes.scatter(x, np.full(tasks, -1), s=45, c=fills, edgecolors=colours, linewidths=1.5, zorder=3)


def _depth_names(depth: int, dispatched: bool) -> list[str]:
    """Return the labels of the decisions; that of a dispatcher precedes depth 0."""
    return ["agent"] * dispatched + [f"depth {i}" for i in range(depth - dispatched)]


def _task_x(tasks: int, choices: int) -> Floats:
    return (np.arange(tasks) + 0.5) / tasks * (choices + 0.5) - 0.5


def _block_x(choices: int) -> Floats:
    """Return the x positions of the boxes of one depth, PASS set apart by half a unit."""
    return np.array([*range(choices - 1), choices - 0.5])


def _draw_lines(axes: Axes, shares: Floats, kinds: Rows) -> None:
    tasks, depths, choices = shares.shape
    ports = _ports(shares)
    _add_lines(axes, 0, _task_x(tasks, choices)[:, None], ports[:, 0], shares[:, 0, None], kinds)
    for depth in range(1, depths):
        flow = shares[:, depth - 1, :, None] * shares[:, depth, None]
        _add_lines(axes, depth, ports[:, depth - 1], ports[:, depth], flow, kinds)


def _ports(shares: Floats) -> Floats:
    """Return the x positions at which the lines of each task meet a box; [tasks, depth, blocks + 1]."""
    present = shares >= LEAST_SHARE
    count = np.maximum(present.sum(0), 1)
    gap = np.minimum(0.12, 0.9 * BOX_WIDTH / count)
    return np.asarray(_block_x(shares.shape[2]) + gap * (present.cumsum(0) - (count + 1) / 2))


def _add_lines(axes: Axes, depth: int, start: Floats, end: Floats, flow: Floats, kinds: Rows) -> None:
    """Draw lines to a depth from x [tasks, from] to x [tasks, to], as wide and opaque as flow [tasks, from, to]."""
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba_array

    task, i, j = np.nonzero(flow >= LEAST_SHARE)
    strength = flow[task, i, j]
    collection = PathCollection(
        [_curve(*ends, depth) for ends in zip(start[task, i], end[task, j], strict=True)],
        facecolors="none",
        edgecolors=to_rgba_array([COLOURS[k % len(COLOURS)] for k in kinds[task]], 0.3 + 0.7 * strength),
        linewidths=0.6 + max(1.2, 4 - 0.2 * len(flow)) * strength,
        linestyles=[DASHES[k // len(COLOURS) % len(DASHES)] for k in kinds[task]],
        gid=f"lines to depth {depth}",
    )
    axes.add_collection(collection)


def _curve(start: float, end: float, depth: int) -> Path:
    """Return a curve with vertical ends, which keeps crossing lines distinguishable at the boxes."""
    from matplotlib.path import Path

    points = [(start, depth - 1), (start, depth - 0.5), (end, depth - 0.5), (end, depth)]
    return Path(points, [Path.MOVETO, *[Path.CURVE4] * 3])


def _draw_boxes(axes: Axes, shares: Floats) -> None:
    total, x = shares.sum(0), _block_x(shares.shape[2])
    shade = np.where(_used(shares), np.sqrt(total / max(1.0, total.max())), 0)
    for depth, choice in np.ndindex(total.shape):
        _add_box(axes, x[choice], depth, _choice_name(choice, len(x)), shade[depth, choice])


def _add_box(axes: Axes, x: float, depth: int, name: str, shade: float) -> None:
    """Draw a block as a rectangle or PASS as an ellipse; hollow and dashed if its shade is 0."""
    from matplotlib import colormaps
    from matplotlib.patches import Ellipse, Rectangle

    style: dict[str, Any] = {"fc": "white", "ec": FAINT, "ls": "dashed"}
    if shade:
        style = {"fc": colormaps["Greys" if name == "PASS" else "Blues"](0.1 + 0.75 * shade), "ec": INK}
    style |= {"zorder": 4, "gid": f"depth {depth} block {name}"}
    corner = (x - BOX_WIDTH / 2, depth - BOX_HEIGHT / 2)
    block = Rectangle(corner, BOX_WIDTH, BOX_HEIGHT, **style)
    axes.add_patch(Ellipse((x, depth), 1, 1.2 * BOX_HEIGHT, **style) if name == "PASS" else block)
    ink = FAINT if not shade else "white" if shade > 0.6 else INK
    axes.text(x, depth, name, color=ink, size=8, ha="center", va="center", zorder=5)


def _draw_heat_map(axes: Axes, shares: Floats, depth: int, task_names: Sequence[str]) -> None:
    """Draw the shares at one depth, tasks by blocks; legible even for many lines."""
    tasks, _, choices = shares.shape
    axes.pcolormesh(shares[:, depth], cmap="Blues", vmin=0, vmax=1, edgecolors="#e8e8e8", linewidth=0.5)
    axes.invert_yaxis()
    axes.title.set(size=9, color=INK)
    axes.set_xticks(np.arange(choices) + 0.5, [*map(str, range(choices - 1)), "P"])
    axes.set_yticks(np.arange(tasks) + 0.5, [""] * tasks if depth else task_names, parse_math=False)
    axes.tick_params(length=0, labelsize=8 if choices < 15 else 6.5, labelcolor=INK)
    axes.spines[:].set_color(FAINT)
