"""Pictures of alignment: assignments over generations, sharing between layers, and modules by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core import figures as pictures
from mtl_gym.core.figures import COLOURS, FAINT, INK
from mtl_gym.core.rows import Rows
from mtl_gym.families.alignment.history import AssignmentHistory, sharing_between, used_by
from mtl_gym.families.alignment.joint import Locations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOW = "mtl_gym: alignment"
CAPTION = """Left: one colour per module; line: the last generation; triangles: challengers, black if one won.
Right: rate at which two layers share modules, relative to chance; white 0, darkest the highest."""
MOST_SUBSETS, MOST_NAMES = 8, 60
GOLDEN = 0.618033988749895


def show(
    mode: str | None,
    history: AssignmentHistory,
    places: Locations,
    task_names: Sequence[str],
    challenged: NDArray[np.bool_] | None = None,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Render the assignments so far beside the current sharing of modules between layers.

    Args:
        mode: Render mode.
        history: Assignments of one run.
        places: Architecture and layer of each location.
        task_names: One name per architecture.
        challenged: Locations with challengers in the last decision, which are marked; bool [locations], or None.
        heading: Function that returns the lines above the picture.
    """
    draw = partial(_draw_all, history=history, places=places, task_names=task_names, challenged=challenged)
    return pictures.show(mode, draw, partial(ansi, history, places, task_names), (11.0, 5.5), WINDOW, heading)


def evaluation(
    history: AssignmentHistory,
    assignment: NDArray[np.integer],
    places: Locations,
    task_names: Sequence[str],
    title: str,
    shows_sharing: bool,
) -> dict[str, Figure]:
    """Draw the pictures of an evaluation, by file name.

    Args:
        history: Assignments of one run.
        assignment: Module of each location at its end; [locations].
        places: Architecture and layer of each location.
        task_names: One name per architecture.
        title: Title above the pictures.
        shows_sharing: Also draw the sharing of modules between layers and between tasks.
    """
    drawn = {"assignment.png": over_time(history, places, task_names, title)}
    if shows_sharing:
        drawn["sharing.png"] = between_layers(assignment, places, task_names, title)
        drawn["subsets.png"] = subsets(history, places, task_names, title)
    return drawn


def over_time(
    history: AssignmentHistory, places: Locations, task_names: Sequence[str], title: str | None = None
) -> Figure:
    """Draw the module of every location over generations, with one colour per module.

    Args:
        history: Assignments of one run.
        places: Architecture and layer of each location.
        task_names: One name per architecture.
        title: Title above the picture.

    Source: MUiR, figure 2.
    """
    draw = partial(_draw_over_time, history=history, places=places, task_names=task_names, title=title)
    return pictures.figure_of(lambda figure: draw(figure.subplots()), (7.0, 5.0))


def between_layers(
    assignment: NDArray[np.integer], places: Locations, task_names: Sequence[str], title: str | None = None
) -> Figure:
    """Draw the result of `sharing_between` for all pairs of layers.

    Args:
        assignment: Module of each location; [locations].
        places: Architecture and layer of each location.
        task_names: One name per architecture.
        title: Title above the picture.

    Source: MUiR, figure 3b.
    """
    draw = partial(_draw_between, assignment=assignment, places=places, task_names=task_names, title=title)
    return pictures.figure_of(lambda figure: draw(figure.subplots()), (6.5, 6.0))


def subsets(
    history: AssignmentHistory, places: Locations, task_names: Sequence[str], title: str | None = None
) -> Figure:
    """Draw the number of modules by the exact set of tasks that use them; arguments as for `over_time`.

    Source: MUiR, figure 3a.
    """
    draw = partial(_draw_subsets, history=history, places=places, task_names=task_names, title=title)
    return pictures.figure_of(lambda figure: draw(figure.subplots()), (7.0, 4.5))


def ansi(history: AssignmentHistory, places: Locations, task_names: Sequence[str]) -> str:
    """Return a table of each task's current numbers of locations, modules, and modules that no other task uses.

    Example:
        >>> history = AssignmentHistory(4, 3)
        >>> history.add(np.array([5, 5, 7]))
        >>> zero = np.zeros(3, int)
        >>> print(ansi(history, Locations(np.array([0, 1, 1]), zero, zero, ("all",)), ["words", "pictures"]))
        generation 0, 2 modules in use
        task      locations  modules  its own
        words             1        1        0
        pictures          2        2        1
    """
    assignment = history.assignment[-1]
    used = used_by(assignment, places.architecture, int(assignment.max()) + 1)
    alone = used & (used.sum(0) == 1)
    locations = np.bincount(places.architecture)
    width = max(len("task"), *map(len, task_names))
    head = f"generation {history.length - 1}, {used.any(0).sum()} modules in use"
    lines = [head, f"{'task':{width}}  locations  modules  its own"]
    rows = zip(task_names, locations, used.sum(1), alone.sum(1), strict=True)
    lines += [f"{name:{width}}  {count:>9}  {modules:>7}  {own:>7}" for name, count, modules, own in rows]
    return "\n".join(lines)


def colours_of(modules: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return a fixed colour for each module; any shape -> float64 [..., 3] in [0, 1]."""
    from matplotlib.colors import hsv_to_rgb

    hue = (modules * GOLDEN) % 1
    value = 0.55 + 0.4 * ((modules * GOLDEN * 7) % 1)
    return hsv_to_rgb(np.stack([hue, np.full(modules.shape, 0.6), value], -1))


def _draw_all(
    figure: Figure,
    history: AssignmentHistory,
    places: Locations,
    task_names: Sequence[str],
    challenged: NDArray[np.bool_] | None,
) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(6, 5))
    _draw_over_time(left, history, places, task_names, None)
    _draw_between(right, history.assignment[-1], places, task_names, None)
    if challenged is not None:
        _mark_challengers(left, history, places, challenged)
        figure.supxlabel(CAPTION, x=0.01, ha="left", fontsize=8, color=INK)


def _mark_challengers(axes: Axes, history: AssignmentHistory, places: Locations, challenged: NDArray[np.bool_]) -> None:
    """Point at the challenged locations of the last generation, in black where a challenger won."""
    order, now = np.lexsort((places.order, places.architecture)), history.length - 1
    won = (history.assignment[now] != history.assignment[max(now - 1, 0)])[order]
    for which, fill in ((challenged[order] & ~won, "white"), (challenged[order] & won, "black")):
        row = np.flatnonzero(which) + 0.5
        x = np.full(len(row), now + 0.8)
        axes.scatter(x, row, s=30, marker="<", c=fill, edgecolors="black", zorder=3, clip_on=False)
    axes.set_xlim(-0.5, history.generations + 0.5)
    axes.axvline(now + 0.5, color=INK, lw=0.8)


def _draw_over_time(
    axes: Axes, history: AssignmentHistory, places: Locations, task_names: Sequence[str], title: str | None
) -> None:
    order = np.lexsort((places.order, places.architecture))
    picture = colours_of(history.assignment[:, order].T)
    axes.imshow(picture, aspect="auto", interpolation="nearest", extent=(-0.5, history.length - 0.5, len(order), 0))
    _name_axis(axes.set_yticks, places.architecture[order], task_names)
    axes.set_xlabel("generation", fontsize=8, color=INK)
    used = history.modules_used()[-1]
    axes.set_title(title or f"Module of each location ({used} in use)", fontsize=9, color=INK)
    _plain(axes)


def _draw_between(
    axes: Axes,
    assignment: NDArray[np.integer],
    places: Locations,
    task_names: Sequence[str],
    title: str | None,
) -> None:
    ratio = sharing_between(assignment, places.layer)
    layers = np.array([int(name.split(":")[0]) for name in places.layer_names])
    order = np.argsort(layers, kind="stable")
    ratio = np.nan_to_num(ratio[np.ix_(order, order)], nan=0.0)
    axes.imshow(ratio, cmap="Blues", interpolation="nearest", extent=(0, len(order), len(order), 0), vmin=0)
    for name in (axes.set_xticks, axes.set_yticks):
        _name_axis(name, layers[order], task_names)
    axes.tick_params(axis="x", rotation=90)
    axes.set_title(title or "Modules shared by two layers, relative to chance", fontsize=9, color=INK)
    _plain(axes)


def _draw_subsets(
    axes: Axes, history: AssignmentHistory, places: Locations, task_names: Sequence[str], title: str | None
) -> None:
    modules = int(history.assignment.max()) + 1
    counts = [_count_subsets(used_by(one, places.architecture, modules)) for one in history.assignment]
    names = sorted({subset for count in counts for subset in count}, key=lambda subset: -counts[-1].get(subset, 0))
    for number, subset in enumerate(names[:MOST_SUBSETS]):
        label = " + ".join(task_names[task] for task in subset)
        curve = [count.get(subset, 0) for count in counts]
        axes.plot(curve, color=COLOURS[number % len(COLOURS)], lw=1.4, label=label)
    axes.set_xlabel("generation", fontsize=8, color=INK)
    axes.set_ylabel("modules used by exactly these tasks", fontsize=8, color=INK)
    axes.set_title(title or "Modules by the tasks that use them", fontsize=9, color=INK)
    axes.legend(fontsize=7, frameon=False)
    _plain(axes)


def _count_subsets(used: NDArray[np.bool_]) -> dict[tuple[int, ...], int]:
    """Count modules by the exact set of tasks that use them; bool [tasks, modules]."""
    columns, counts = np.unique(used[:, used.any(0)], axis=1, return_counts=True)
    pairs = zip(columns.T, counts.tolist(), strict=True)
    return {tuple(np.flatnonzero(column).tolist()): count for column, count in pairs}


def _name_axis(set_ticks: Callable[..., object], owner: Rows, task_names: Sequence[str]) -> None:
    """Write each task's name at the centre of its locations, unless there are more than `MOST_NAMES`."""
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    last = np.append(first[1:], len(owner))
    names = [task_names[owner[place]] for place in first] if len(first) <= MOST_NAMES else [""] * len(first)
    set_ticks((first + last) / 2, names, parse_math=False)


def _plain(axes: Axes) -> None:
    axes.tick_params(length=0, labelsize=7, labelcolor=INK)
    axes.spines[:].set_color(FAINT)
