"""Numbers of tasks that are given by name or by number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from mtl_gym.core.validation import did_you_mean, short


class HasTasks(Protocol):
    """Data set with named tasks."""

    @property
    def name(self) -> str:
        """Name in messages."""

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""


def task_number(data: HasTasks, task: str | int) -> int:
    """Return the number of a task that is given by name or by number.

    Raises:
        ValueError: If there is no such task; the message names those that there are.
    """
    known = data.task_names
    if isinstance(task, str) and task in known:
        return known.index(task)
    if isinstance(task, int | np.integer) and not isinstance(task, bool) and 0 <= task < len(known):
        return int(task)
    hint = did_you_mean(task, known) if isinstance(task, str) else ""
    raise ValueError(
        f"data set {data.name!r} has no task {short(task)}.{hint} "
        f"Give a number from 0 to {len(known) - 1} or a name: {', '.join(known)}."
    )


def task_numbers(data: HasTasks, tasks: Sequence[str | int]) -> tuple[int, ...]:
    """Return the numbers of tasks that are given by name or by number, in the given order.

    Raises:
        ValueError: If no task is given, or a task does not exist or is repeated.
    """
    unordered = not isinstance(tasks, Iterable) or isinstance(tasks, str | bytes | Mapping | set | frozenset)
    numbers = () if unordered else tuple(task_number(data, task) for task in tasks)
    if not numbers or len(set(numbers)) < len(numbers):
        hint = f"; write ({tasks!r},) for one task" if isinstance(tasks, str | int) else ""
        raise ValueError(
            f"data set {data.name!r}: tasks={short(tasks)} is not possible; "
            f"it takes a list or tuple of one task or more, each once, by name or number{hint}."
        )
    return numbers
