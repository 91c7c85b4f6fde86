"""Decisions of learning routers: their inputs, choices and rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_agents.routing.router import Index

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Situations:
    """Inputs of decisions, one entry per decision.

    Attributes:
        task: Task of each decision; int64 [n].
        depth: Depth of each decision; int64 [n].
        earlier: Earlier choices of the route, padded with -1; int64 [n, depth].
        value: Current value; float32 [n, F], with F = 0 for routers that do not observe it.
    """

    task: Index
    depth: Index
    earlier: Index
    value: NDArray[np.float32]


@dataclass(frozen=True)
class Decisions(Situations):
    """Decisions of all routes that ended in one step, ordered by route, then by depth.

    Attributes:
        choice: Choice of each decision; int64 [n].
        reward: Immediate reward; float64 [n].
        returns: Discounted sum of rewards from the decision onwards (algorithm 2, line 6); float64 [n].
        last: True for the last decision of a route; otherwise the next entry is its next decision; bool [n].
    """

    choice: Index
    reward: Floats
    returns: Floats
    last: NDArray[np.bool_]
