"""True groups of tasks in a routing map: their order, and the strip that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.figures import COLOURS
from mtl_gym.core.rows import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Number = TypeVar("Number", bound=np.floating)
TOP, HEIGHT = -1.42, 0.24


def by_group(
    usage: NDArray[Number], task_names: Sequence[str], groups: Rows | None
) -> tuple[NDArray[Number], Sequence[str], Rows | None]:
    """Return usage [tasks, ...], names and groups [tasks] in the order of the groups; unchanged without groups.

    Example:
        >>> by_group(np.eye(3), ["a", "b", "c"], np.array([1, 0, 1]))[1:]
        (['b', 'a', 'c'], array([0, 1, 1]))
    """
    if groups is None:
        return usage, task_names, None
    order = np.argsort(groups, kind="stable")
    return usage[order], [task_names[task] for task in order], groups[order]


def draw_strip(axes: Axes, x: NDArray[np.float64], groups: Rows) -> None:
    """Draw a strip of one coloured box per group.

    Args:
        axes: Axes of the map.
        x: Positions of the tasks, evenly spaced; float64 [tasks].
        groups: Group of each task, ascending; int64 [tasks].
    """
    from matplotlib.patches import Rectangle

    half = 0.45 * np.diff(x).min(initial=1.0)
    for group in np.unique(groups):
        left, right = x[groups == group][[0, -1]] + np.array([-half, half])
        colour = COLOURS[group % len(COLOURS)]
        axes.add_patch(Rectangle((left, TOP), right - left, HEIGHT, fc=colour, ec="none", gid=f"group {group}"))
        label = f"true group {group}" if np.count_nonzero(groups == group) > 2 else str(group)
        axes.text((left + right) / 2, TOP + HEIGHT / 2, label, color="white", size=8, ha="center", va="center")
