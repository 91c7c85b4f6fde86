"""Several runs as one: tables have a task of their own for each task of each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from mtl_gym.core.rows import AnySpace, Array


def with_tasks_of_runs(obs: Mapping[str, Array], runs: int, tasks: int) -> Mapping[str, Array]:
    """Return an observation of several runs, in which the tasks of run r follow those of run r - 1.

    Args:
        obs: Observation of all rows, those of a run one after another.
        runs: Number of runs.
        tasks: Number of tasks of all runs.

    Example:
        >>> with_tasks_of_runs({"task": np.array([2, 0, 1, 1])}, runs=2, tasks=6)["task"]
        array([2, 0, 4, 4])
    """
    if runs == 1:
        return obs
    rows = len(obs["task"]) // runs
    return {**obs, "task": obs["task"] + np.repeat(np.arange(runs) * (tasks // runs), rows)}


def part_of_tasks(table: Any, run: int, runs: int, tasks: int) -> Any:
    """Return the part of a table, [tasks of all runs, ...], of one run; other tables belong to all runs."""
    return table.unflatten(0, (runs, -1))[run] if table.ndim and len(table) == tasks and runs > 1 else table


def block_of(observation: Any, run: int, runs: int) -> Any:
    """Return the rows of one of several runs of an observation; tensors [rows, ...], or None."""
    if isinstance(observation, Mapping):
        return {name: block_of(part, run, runs) for name, part in observation.items()}
    return None if observation is None else observation.unflatten(0, (runs, -1))[run]


def rows_in(observation: Array | Mapping[str, Array], space: AnySpace) -> int | None:
    """Return the number of observations in a batch, or None for a single observation.

    Example:
        >>> rows_in(np.zeros((3, 8)), spaces.Box(0, 1, (8,))), rows_in(np.zeros(8), spaces.Box(0, 1, (8,)))
        (3, None)
    """
    if isinstance(observation, Mapping):
        assert isinstance(space, spaces.Dict)
        key = next(iter(observation))
        return rows_in(observation[key], space[key])
    return None if np.ndim(observation) == len(space.shape or ()) else len(observation)
