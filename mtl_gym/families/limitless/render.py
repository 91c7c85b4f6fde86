"""Graph of all networks, and heat map of the modules of each task."""

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
from mtl_gym.core.figures import FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]

WINDOW = "mtl_gym: networks"
LEAST_SHARE = 0.01
MARK = "#ffd9a0"
MARKED = "Black: the last decision's task and modules so far. Shares: of about the last 200 networks of each task."
CAPTION = f"""Arrows: share of all networks, {LEAST_SHARE:.0%} or more. Dashed: unused modules.
Heat map: share of a task's networks with a module, white 0%, darkest 100%."""


@dataclass(frozen=True)
class Mark:
    """The network of one input: its task, and the modules so far."""

    task: str
    modules: Sequence[int]


def show(
    mode: str | None,
    edges: Floats,
    usage: Floats,
    task_names: Sequence[str],
    names: Sequence[str],
    mark: Mark | None = None,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Return the rendering for `mode`: pixels for "rgb_array", text for "ansi", else None; arguments of `networks`."""
    draw = partial(_draw, edges=edges, usage=usage, task_names=task_names, names=names, title=None, mark=mark)
    text = partial(ansi, edges, usage, task_names, names)
    return pictures.show(mode, draw, text, _size(task_names, names), WINDOW, heading)


def networks(
    edges: Floats, usage: Floats, task_names: Sequence[str], names: Sequence[str], title: str | None = None
) -> Figure:
    """Draw the graph of all networks, and below it a heat map of tasks by modules.

    The column of a module is its mean distance from the input. The width of an arrow is the share of networks in which
    the second module follows the first.

    Args:
        edges: Counts of modules by preceding module, the input last; [modules + 1, modules].
        usage: Counts of networks by task and module; [tasks, modules].
        task_names: One name per task.
        names: One name per module.
        title: Title of the figure.

    Raises:
        ValueError: If the shapes do not match the numbers of names.
    """
    draw = partial(_draw, edges=edges, usage=usage, task_names=task_names, names=names, title=title)
    return pictures.figure_of(draw, _size(task_names, names))


def ansi(edges: Floats, usage: Floats, task_names: Sequence[str], names: Sequence[str]) -> str:
    """Return a table of the most frequent modules of each task, and the number of used modules.

    Example:
        >>> edges = np.array([[0.0, 3.0, 1.0], [0, 0, 0], [0, 0, 0], [4.0, 0, 0]])
        >>> print(ansi(edges, np.array([[4.0, 3.0, 1.0]]), ["cats"], ["conv", "head 0", "head 1"]))
        task          most used modules
        cats          conv 100%, head 0 75%, head 1 25%
        modules used  3 of 3
    """
    shares = _shares(edges, usage, task_names, names)
    lines = [("task", "most used modules")]
    lines += [(name, _favourites(row, names)) for name, row in zip(task_names, shares, strict=True)]
    lines += [("modules used", f"{int((usage.sum(0) > 0).sum())} of {len(names)}")]
    width = max(len(left) for left, _ in lines)
    return "\n".join(f"{left.ljust(width)}  {right}" for left, right in lines)


def _favourites(shares: Floats, names: Sequence[str], count: int = 4) -> str:
    best = [number for number in np.argsort(-shares, kind="stable")[:count] if shares[number] > 0]
    return ", ".join(f"{names[number]} {shares[number]:.0%}" for number in best) or "-"


def _shares(edges: Floats, usage: Floats, task_names: Sequence[str], names: Sequence[str]) -> Floats:
    """Return the share of a task's networks with each module; [tasks, modules]."""
    if usage.shape != (len(task_names), len(names)) or edges.shape != (len(names) + 1, len(names)):
        raise ValueError(
            f"usage {usage.shape} and edges {edges.shape} do not fit {len(task_names)} tasks and {len(names)} modules; "
            "pass [tasks, modules] and [modules + 1, modules]."
        )
    # Every network has one head, and no module follows a head, so modules without successors count the networks.
    ends = usage[:, edges[:-1].sum(1) == 0].sum(1, keepdims=True)
    return usage / np.where(ends > 0, ends, 1)


def _size(task_names: Sequence[str], names: Sequence[str]) -> tuple[float, float]:
    width = max(7.0, 1.5 + 0.085 * max(map(len, task_names)) + 0.2 * len(names))
    height = 6.0 + 0.2 * len(task_names) + 0.085 * max(map(len, names))
    return ceil(2 * width) / 2, ceil(2 * height) / 2


def _draw(
    figure: Figure,
    edges: Floats,
    usage: Floats,
    task_names: Sequence[str],
    names: Sequence[str],
    title: str | None,
    mark: Mark | None = None,
) -> None:
    shares = _shares(edges, usage, task_names, names)
    graph, heat = figure.subplots(2, 1, height_ratios=(3.2, 0.6 + 0.2 * len(task_names)))
    _draw_graph(graph, edges, names, () if mark is None else mark.modules)
    _draw_heat_map(heat, shares, task_names, names)
    if mark is not None:
        _mark_cells(heat, task_names, mark)
    short = next((f" {_short(name)}: {name}." for name in names if " from " in name), "")
    caption = f"{MARKED}\n" * (mark is not None) + CAPTION.replace("modules.\n", f"modules.{short}\n")
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=INK)
    if title is not None:
        figure.suptitle(title, color=INK)


def _mark_cells(axes: Axes, task_names: Sequence[str], mark: Mark) -> None:
    """Outline the modules of one input in the line of its task."""
    from matplotlib.patches import Rectangle

    if mark.task in task_names:
        task = list(task_names).index(mark.task)
        axes.get_yticklabels()[task].set_fontweight("bold")
        for module in mark.modules:
            axes.add_patch(Rectangle((module, task), 1, 1, fill=False, edgecolor="black", lw=2.5, clip_on=False))


def _draw_graph(axes: Axes, edges: Floats, names: Sequence[str], taken: Sequence[int] = ()) -> None:
    flow = edges / max(edges[-1].sum(), 1)
    places = _places(flow)
    axes.axis("off")
    (left, low), (right, high) = places.min(0), places.max(0)
    axes.set(xlim=(left - 0.3, right + 0.4), ylim=(low - 1, high + 1))
    for before, after in zip(*np.nonzero(flow >= LEAST_SHARE), strict=True):
        share = flow[before, after]
        arrow = {"arrowstyle": "-|>", "lw": 0.4 + 7 * share, "alpha": 0.25 + 0.6 * share, "color": "#3f90da"}
        arrow |= {"shrinkA": 9, "shrinkB": 9}
        axes.annotate("", tuple(places[after]), tuple(places[before]), arrowprops=arrow).set_in_layout(False)
    used = np.append(flow.sum(0) > 0, True)
    for before, after in pairwise([len(names), *taken] if taken else []):
        arrow = {"arrowstyle": "-|>", "lw": 2.5, "color": "black", "shrinkA": 9, "shrinkB": 9}
        axes.annotate("", tuple(places[after]), tuple(places[before]), arrowprops=arrow).set_in_layout(False)
    places_by_name = zip([*map(_short, names), "input"], places.tolist(), used, strict=True)
    for number, (name, (x, y), seen) in enumerate(places_by_name):
        ink = INK if seen else FAINT
        style: dict[str, Any] = {"boxstyle": "round", "fc": "white", "ec": ink, "ls": "solid" if seen else "dashed"}
        if number in taken:
            ink, style = "black", {"boxstyle": "round", "fc": MARK, "ec": "black", "lw": 2.5}
        text = axes.text(x, y, name, size=7, ha="center", va="center", color=ink, bbox=style)
        text.set_in_layout(False)


def _short(name: str) -> str:
    return name.replace(" from ", "<").replace("input ", "in ")


def _places(flow: Floats) -> Floats:
    """Return the positions of modules, x being the mean distance from the input; [modules + 1, 2], input last."""
    modules = flow.shape[1]
    column = np.round(2 * _mean_distance(flow)) / 2
    places = np.zeros((modules + 1, 2))
    for at in np.unique(column):
        members = np.flatnonzero(column == at)
        places[members, 0] = at
        places[members, 1] = (len(members) - 1) / 2 - np.arange(len(members))
        # Columns of many modules are staggered to keep names apart.
        places[members, 0] += 0.22 * (np.arange(len(members)) % 2) * (len(members) > 4)
        places[members, 1] *= 10 / max(len(members), 4)
    return places


def _mean_distance(flow: Floats) -> Floats:
    """Return the mean depth of each module, unused ones beyond all others; [modules + 1], input last."""
    modules = flow.shape[1]
    distance = np.append(np.full(modules, 1.0), 0.0)
    arriving = flow.sum(0)
    for _ in range(2 * modules):
        distance[:-1] = 1 + np.divide(distance @ flow, arriving, out=np.zeros(modules), where=arriving > 0)
        distance = np.minimum(distance, modules)
    used = np.append(arriving > 0, True)
    distance[~used] = distance[used].max() + 1
    return distance


def _draw_heat_map(axes: Axes, shares: Floats, task_names: Sequence[str], names: Sequence[str]) -> None:
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="#e8e8e8", linewidth=0.5)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90, parse_math=False)
    axes.set_yticks(np.arange(len(task_names)) + 0.5, task_names, parse_math=False)
    axes.tick_params(length=0, labelsize=7, labelcolor=INK)
    axes.spines[:].set_color(FAINT)
