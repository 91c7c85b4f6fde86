"""Who uses which modules, and what follows what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.rows import State
from mtl_gym.core.state.checkpoint import to_arrays, to_tensors

MEMORY = 200


class Usage:
    """Counts of modules in finished networks.

    Args:
        tasks: Number of tasks.
        modules: Size of the pool.

    Attributes:
        taken: How often a task's network had a module; float64 [tasks, modules].
        edges: How often a module came right after another; float64 [modules + 1, modules], the last row is the input.
        unused: Modules that no network of the last whole batch had; before there was one, of the networks so far.

    Example:
        >>> usage = Usage(tasks=1, modules=3)
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
        """Modules that no network had: see the class."""
        return self._last if self._last is not None else int((self._batch == 0).sum())

    def add(self, task: NDArray[np.int64], networks: NDArray[np.int64]) -> None:
        """Count finished networks; int64 [n] and [n, depth], -1 behind the head."""
        modules = self.taken.shape[1]
        before = np.concatenate([np.full((len(networks), 1), modules), networks[:, :-1]], axis=1)
        there = networks >= 0
        by_task = np.broadcast_to(task[:, None], networks.shape)[there] * modules + networks[there]
        self.taken += np.bincount(by_task, minlength=self.taken.size).reshape(self.taken.shape)
        steps = before[there] * modules + networks[there]
        self.edges += np.bincount(steps, minlength=self.edges.size).reshape(self.edges.shape)
        self._batch += np.bincount(networks[there], minlength=modules)

    def end_batch(self) -> None:
        """A training batch is over: what it did not use is known, and older counts fade to about 200 a task."""
        self._last = int((self._batch == 0).sum())
        self._batch[:] = 0
        episodes = self.edges[-1].sum()
        fade = min(1.0, MEMORY * len(self.taken) / max(episodes, 1))
        self.taken *= fade
        self.edges *= fade

    def state(self) -> State:
        """Return counts as tensors, and the modules that the last batch did not use."""
        return {**to_tensors({"taken": self.taken, "edges": self.edges, "batch": self._batch}), "last": self._last}

    def load(self, state: State) -> None:
        """Restore `state`."""
        self.taken, self.edges, self._batch = (to_arrays(state[name]) for name in ("taken", "edges", "batch"))
        self._last = state["last"]
