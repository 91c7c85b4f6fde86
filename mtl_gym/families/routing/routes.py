"""Current routes, and counts of the choices of finished routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.rows import Flags, Rows, State
from mtl_gym.core.state.structure import Numbers

MEMORY = 200


@dataclass
class Routes:
    """Routes of all rows.

    Attributes:
        sample: Sample of each row, -1 for none; int64 [num_envs].
        depth: Number of decisions made; int64 [num_envs].
        choice: Choice at each depth, -1 for pending decisions; int64 [num_envs, depth].
    """

    sample: Rows
    depth: Rows
    choice: Rows

    @classmethod
    def none(cls, rows: int, depth: int) -> Routes:
        """Return empty routes without samples."""
        return cls(np.full(rows, -1), np.zeros(rows, np.int64), np.full((rows, depth), -1))

    def begin(self, rows: Rows, samples: Rows) -> None:
        """Begin the routes of `samples` in `rows`; int64 [n] each."""
        self.sample[rows], self.depth[rows], self.choice[rows] = samples, 0, -1

    def extend(self, rows: Rows, choices: Rows) -> None:
        """Append one choice to the route of each of `rows`; int64 [n] each."""
        self.choice[rows, self.depth[rows]] = choices
        self.depth[rows] += 1

    @property
    def now(self) -> Rows:
        """Depth of the next decision, the last depth for finished routes; int64 [num_envs]."""
        return np.minimum(self.depth, self.choice.shape[1] - 1)

    @property
    def finished(self) -> Flags:
        """Mask of rows with a finished route; bool [num_envs]."""
        return self.depth == self.choice.shape[1]

    def of_rows(self, rows: Flags) -> Routes:
        """Return the routes of some rows; bool [num_envs]."""
        return Routes(self.sample[rows], self.depth[rows], self.choice[rows])

    @classmethod
    def joined(cls, routes: Sequence[Routes]) -> Routes:
        """Return the routes of several runs, one after another."""
        fields = zip(*((one.sample, one.depth, one.choice) for one in routes), strict=True)
        return cls(*(np.concatenate(parts) for parts in fields))

    def model(self, samples: int, blocks: int) -> State:
        """Return the model of the state of the routes, for so many samples and blocks."""
        return {
            "sample": Numbers(torch.from_numpy(self.sample), 0, samples - 1),
            "depth": Numbers(torch.from_numpy(self.depth), 0, self.choice.shape[1]),
            "choice": Numbers(torch.from_numpy(self.choice), -1, blocks),
        }


def random_routes(masks: Flags, count: int, random: np.random.Generator) -> Rows:
    """Return a random block for each layer of each route, never PASS; int64 [count, depth].

    Args:
        masks: Valid choices of each layer, PASS last; bool [depth, blocks + 1].
        count: Number of routes.
        random: Generator to draw from.
    """
    layers = [np.flatnonzero(mask[:-1]) for mask in masks]
    positions = random.integers([len(blocks) for blocks in layers], size=(count, len(layers)))
    return np.stack([blocks[positions[:, depth]] for depth, blocks in enumerate(layers)], axis=1)


class RouteUsage:
    """Counts of the choices in finished routes.

    Args:
        tasks: Number of tasks.
        depth: Number of decisions in a route.
        choices: Number of choices at each decision, including PASS.
        fades: Decay old counts, with a memory of about 200 routes per task.

    Attributes:
        counts: Counts by task, depth and choice; float64 [tasks, depth, choices].

    Example:
        >>> usage = RouteUsage(tasks=1, depth=2, choices=3, fades=False)
        >>> usage.add(np.array([0, 0]), np.array([[0, 2], [1, 2]]))
        >>> usage.counts.tolist()
        [[[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]]]
    """

    def __init__(self, tasks: int, depth: int, choices: int, fades: bool) -> None:
        self.counts: NDArray[np.float64] = np.zeros((tasks, depth, choices))
        self.fades = fades

    def add(self, task: Rows, routes: Rows) -> None:
        """Count routes, given their tasks, int64 [n], and choices, int64 [n, depth]."""
        tasks, depth, choices = self.counts.shape
        if self.fades:
            self.counts *= (1 - 1 / MEMORY) ** np.bincount(task, minlength=tasks)[:, None, None]
        place = (task[:, None] * depth + np.arange(depth)) * choices + routes
        self.counts += np.bincount(place.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def taken(self) -> Flags:
        """Mask of blocks taken by any task; bool [depth, blocks]."""
        return self.counts[..., :-1].sum(0) > 0
