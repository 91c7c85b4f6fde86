"""Counts of modules by task, and of successions of modules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.rows import State
from mtl_gym.core.state.checkpoint import to_arrays, to_tensors

MEMORY = 200


class ModuleUsage:
    """Counts of modules in finished networks.

    Args:
        tasks: Number of tasks.
        modules: Size of the pool.

    Attributes:
        taken: Counts of networks by task and module; float64 [tasks, modules].
        edges: Counts of modules by preceding module, the input last; float64 [modules + 1, modules].
        unused: Number of modules in no network of the last complete batch; before its end, of all networks so far.

    Example:
        >>> usage = ModuleUsage(tasks=1, modules=3)
        >>> usage.add(np.array([0, 0]), np.array([[0, 2], [2, -1]]))
        >>> usage.unused, usage.edges.tolist()
        (1, [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    """

    def __init__(self, tasks: int, modules: int) -> None:
        self.taken, self.edges = np.zeros((tasks, modules)), np.zeros((modules + 1, modules))
        self._batch = np.zeros(modules, np.int64)
        self._last: int | None = None

    @property
    def unused(self) -> int:
        """Number of unused modules; see the class."""
        return self._last if self._last is not None else int((self._batch == 0).sum())

    def add(self, task: NDArray[np.int64], networks: NDArray[np.int64]) -> None:
        """Count finished networks, given their tasks, int64 [n], and modules, int64 [n, depth], padded with -1."""
        modules = self.taken.shape[1]
        before = np.concatenate([np.full((len(networks), 1), modules), networks[:, :-1]], axis=1)
        there = networks >= 0
        by_task = np.broadcast_to(task[:, None], networks.shape)[there] * modules + networks[there]
        self.taken += np.bincount(by_task, minlength=self.taken.size).reshape(self.taken.shape)
        steps = before[there] * modules + networks[there]
        self.edges += np.bincount(steps, minlength=self.edges.size).reshape(self.edges.shape)
        self._batch += np.bincount(networks[there], minlength=modules)

    def end_batch(self) -> None:
        """End a training batch: store its number of unused modules, and scale counts down to about 200 per task."""
        self._last = int((self._batch == 0).sum())
        self._batch[:] = 0
        episodes = self.edges[-1].sum()
        fade = min(1.0, MEMORY * len(self.taken) / max(episodes, 1))
        self.taken *= fade
        self.edges *= fade

    def state(self) -> State:
        """Return counts as tensors, and the number of unused modules of the last batch."""
        return {**to_tensors({"taken": self.taken, "edges": self.edges, "batch": self._batch}), "last": self._last}

    def load(self, state: State) -> None:
        """Restore `state`."""
        self.taken, self.edges, self._batch = (to_arrays(state[name]) for name in ("taken", "edges", "batch"))
        self._last = state["last"]
