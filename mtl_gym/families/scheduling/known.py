"""Base of scheduling environments with a known schedule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtl_gym.core.instances import GeneratedOptions
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.rows import Array, Rows
from mtl_gym.families.scheduling.env import SchedulingVectorEnv
from mtl_gym.families.scheduling.options import SchedulingOptions


@dataclass(frozen=True, kw_only=True)
class KnownOptions(SchedulingOptions, GeneratedOptions):
    """Options of environments with a known schedule: the progress is observed, and what a run gains is paid."""

    observation: str = "progress"
    reward: str = "gain"
    reference: str | float | Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Reject invalid values, and other target tasks than those of the known schedule."""
        super().__post_init__()
        given, known = (
            None if tasks is None else list(tasks) for tasks in (self.target_tasks, type(self).target_tasks)
        )
        self._require("target_tasks", given == known, f"{known!r} only: the known schedule is for these")


class KnownScheduleVectorEnv(SchedulingVectorEnv):
    """Batch of training runs for which a good schedule is known, and whose tasks stand in a secret order."""

    INTERFACES: ClassVar[frozenset[Interface[object]]] = SchedulingVectorEnv.INTERFACES | {ORACLE}
    # The budget is part of the problem: what a longer run would gain must not be bootstrapped.
    TERMINATES: ClassVar[bool] = True

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """Names of all tasks, in an order that is the same in all instances."""

    @property
    @abstractmethod
    def plan(self) -> tuple[int, ...]:
        """The best schedule that is known, in equal parts of a run: places in `roles`."""

    @property
    def order(self) -> Rows:
        """Number of the task of each role; int64 [tasks]."""
        return np.array([self.task_names.index(name) for name in self.roles])

    @property
    def schedule(self) -> Rows:
        """Task of every decision in the best schedule that is known; int64 [run_length]."""
        part = np.arange(self.run_length) * len(self.plan) // self.run_length
        return self.order[np.array(self.plan)[part]]

    def best_actions(self) -> Array:
        """Return the decision of the known schedule for every row, as in the action space."""
        self._require_reset("best_actions()")
        task = np.full(self.num_envs, self.schedule[self._step])
        return task if self.chooses else np.eye(self.data.num_tasks, dtype=np.float32)[task]
