"""Who connects what, time step by time step, and how far two tasks overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEMORY = 200


class Usage:
    """Counts of connections in finished episodes.

    Args:
        tasks: Number of tasks.
        steps: Time steps.
        connections: Connections per time step.
        fades: Whether older episodes count less, so that about the last 200 of each task matter.

    Example:
        >>> usage = Usage(tasks=1, steps=2, connections=2)
        >>> usage.add(np.array([0]), np.array([2]), np.array([[[1, 0], [1, 1]]], np.int8))
        >>> usage.shares.tolist()
        [[[1.0, 0.0], [1.0, 1.0]]]
    """

    def __init__(self, tasks: int, steps: int, connections: int, fades: bool = False) -> None:
        self.on, self.seen = np.zeros((tasks, steps, connections)), np.zeros((tasks, steps))
        self.fades = fades

    def add(self, task: NDArray[np.int64], length: NDArray[np.int64], actions: NDArray[np.int8]) -> None:
        """Count episodes: their tasks and lengths, int64 [n], and connections, int8 [n, steps, connections]."""
        tasks, steps, _ = self.on.shape
        member = (np.arange(tasks)[:, None] == task).astype(np.float32)
        if self.fades:
            fade = (1 - 1 / MEMORY) ** member.sum(1)
            self.on, self.seen = self.on * fade[:, None, None], self.seen * fade[:, None]
        self.on += (member @ actions.reshape(len(task), self.on[0].size).astype(np.float32)).reshape(self.on.shape)
        self.seen += member @ (np.arange(steps) < length[:, None]).astype(np.float32)

    @property
    def shares(self) -> Floats:
        """Share of a task's episodes in which a connection was on at a step, 0 if none got there; [tasks, steps, C]."""
        return self.on / np.maximum(self.seen, 1e-9)[:, :, None]

    def state(self) -> dict[str, Any]:
        """Counts as tensors."""
        return {"on": torch.from_numpy(self.on.copy()), "seen": torch.from_numpy(self.seen.copy())}

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.on, self.seen = state["on"].numpy().copy(), state["seen"].numpy().copy()


def overlap(shares: Floats) -> Floats:
    """How far the connections of two tasks are the same, at each time step.

    It is the sum over connections of the lesser share over the sum of the greater: 1 for tasks that connect alike, 0
    for tasks that have no connection in common, and 0 where neither has any.

    Args:
        shares: [tasks, steps, connections].

    Returns:
        float64 [steps, tasks, tasks].

    Example:
        >>> overlap(np.array([[[1.0, 0.5, 0.0]], [[0.5, 0.5, 1.0]]]))[0].round(2).tolist()
        [[1.0, 0.4], [0.4, 1.0]]
    """
    by_step = shares.swapaxes(0, 1)
    lesser = np.minimum(by_step[:, :, None], by_step[:, None]).sum(3)
    greater = np.maximum(by_step[:, :, None], by_step[:, None]).sum(3)
    return np.divide(lesser, greater, out=np.zeros_like(lesser), where=greater > 0)
