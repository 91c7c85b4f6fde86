"""Counts of connections by task and time step, and overlap of tasks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.rows import Info, State
from mtl_gym.families.recurrent.connections import ConnectionLayout

Floats = NDArray[np.float64]

MEMORY = 200


class ConnectionUsage:
    """Counts of connections in finished episodes.

    Args:
        tasks: Number of tasks.
        steps: Number of time steps.
        connections: Number of connections per time step.
        fades: Decay old counts, with a memory of about 200 episodes per task.

    Example:
        >>> usage = ConnectionUsage(tasks=1, steps=2, connections=2)
        >>> usage.add(np.array([0]), np.array([2]), np.array([[[1, 0], [1, 1]]], np.int8))
        >>> usage.shares.tolist()
        [[[1.0, 0.0], [1.0, 1.0]]]
    """

    def __init__(self, tasks: int, steps: int, connections: int, fades: bool = False) -> None:
        self.on, self.seen = np.zeros((tasks, steps, connections)), np.zeros((tasks, steps))
        self.fades = fades

    def add(self, task: NDArray[np.int64], length: NDArray[np.int64], actions: NDArray[np.int8]) -> None:
        """Count episodes, given tasks and lengths, int64 [n], and connections, int8 [n, steps, connections]."""
        tasks, steps, _ = self.on.shape
        member = (np.arange(tasks)[:, None] == task).astype(np.float32)
        if self.fades:
            fade = (1 - 1 / MEMORY) ** member.sum(1)
            self.on, self.seen = self.on * fade[:, None, None], self.seen * fade[:, None]
        self.on += (member @ actions.reshape(len(task), self.on[0].size).astype(np.float32)).reshape(self.on.shape)
        self.seen += member @ (np.arange(steps) < length[:, None]).astype(np.float32)

    @property
    def shares(self) -> Floats:
        """Share of a task's episodes in which a connection was on at a step; float64 [tasks, steps, C].

        Steps without episodes have a share of 0.
        """
        return self.on / np.maximum(self.seen, 1e-9)[:, :, None]

    def figures(self, layout: ConnectionLayout) -> Info:
        """Return figures of the connections.

        `usage` [K, T, C]: share of a task's sequences in which a connection was on at a step. `overlap` [T, K, K]:
        overlap of the connections to the sub-decoders of two tasks. `blocks_used`: number of sub-encoders taken by any
        task. `names`: names of the connections.
        """
        taken = self.shares[:, :, layout.c1 : layout.size]
        used = int((taken.max((0, 1), initial=0) > 0).sum())
        names = layout.names if layout.size else ["none"]
        return {"usage": self.shares, "overlap": overlap(taken), "blocks_used": used, "names": names}

    def state(self) -> State:
        """Return counts as tensors."""
        return {"on": torch.from_numpy(self.on.copy()), "seen": torch.from_numpy(self.seen.copy())}

    def load(self, state: State) -> None:
        """Restore `state`."""
        self.on, self.seen = state["on"].numpy().copy(), state["seen"].numpy().copy()


def overlap(shares: Floats) -> Floats:
    """Return the overlap of the connections of each two tasks at each time step.

    The overlap is the sum over connections of the smaller share, divided by the sum of the larger share: 1 for equal
    connections, 0 for disjoint connections or none.

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
