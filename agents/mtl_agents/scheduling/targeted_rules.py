"""Schedules that favour one task: constant ones, and ones whose weight for it rises during a run.

Source: QLS, section 5.3 and table 6; Kiperwasser and Ballesteros 2018 for the rising ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import option
from mtl_agents.scheduling.rule import Floats, Memory, Scheduler
from mtl_agents.scheduling.rules import one_hot
from mtl_gym.core.ranges import Range
from mtl_gym.families.scheduling.progress import Progress

# Units of time in a run, where the user does not say how long one is.
_EPOCHS = 10


class OneTask(Scheduler):
    """What they share: a target task, the same in all runs and from beginning to end.

    Deviation: the paper knows which of its tasks is hardest, translation. Here that is the task whose single-task
    network has the lowest accuracy (the environment's reference), unless the task is given.

    Args:
        env: As for `Scheduler`; made with a reference, unless `task` is given.
        task: The number of the target task.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If there is no such task, or neither a task nor a reference.
    """

    def __init__(self, env: Any, *, task: int | None = None, **arguments: Any) -> None:
        super().__init__(env, **arguments)
        if task is not None and task >= self.num_tasks:
            raise ValueError(f"task={task!r} is not possible: there are tasks 0 to {self.num_tasks - 1}.")
        self.task = task

    def _hyperparameters(self) -> dict[str, Any]:
        return {"task": self.task}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        if self.task is None and np.isnan(progress.reference).any():
            raise ValueError(
                f"{type(self).__name__} favours the task that its reference names: give task=..., or make the "
                "environment with reference=...."
            )
        target = self._named_by(progress.reference) if self.task is None else self.task
        others, favoured = self._weights(progress)
        return np.where(one_hot(np.array([target]), self.num_tasks) > 0, favoured[:, None], others)

    def _named_by(self, reference: NDArray[np.float32]) -> int:
        """The target among tasks whose single-task networks have those accuracies, [tasks]: the hardest."""
        return int(reference.argmin())

    @abstractmethod
    def _weights(self, progress: Progress) -> tuple[float, Floats]:
        """How much each of the other tasks counts, and how much the target in each run; [runs]."""


class PrioritiseHard(OneTask):
    """The hardest task counts 0.98, every other one 0.01.

    Source: QLS, section 5.3 ("prioritize hard").

    Example:
        >>> PrioritiseHard("MTLScheduling-Digits-v0", task=3)
        PrioritiseHard(task=3)
    """

    def _weights(self, progress: Progress) -> tuple[float, Floats]:
        return 0.01, np.full(len(progress.updates), 0.98)


class PrioritiseEasy(PrioritiseHard):
    """The easiest task counts 0.98, every other one 0.01.

    Source: QLS, section 5.3 ("prioritize easy").
    """

    def _named_by(self, reference: NDArray[np.float32]) -> int:
        return int(reference.argmax())


class Rising(OneTask):
    """The weight of the target task rises during a run, all others keep 1.

    Source: QLS, section 5.3: a schedule that "tunes the weight of the target task [...] while keeping the rest of the
    weights intact"; Kiperwasser and Ballesteros 2018 for its shape.

    Deviation: in Kiperwasser and Ballesteros it is the probability of the target, and what it leaves is shared by the
    other tasks; QLS leaves their weights alone. Time is theirs in epochs, of which QLS does not say how many a run has:
    here one lasts a tenth of a run.

    Args:
        env: As for `OneTask`.
        task: The number of the target task.
        slope: How fast the weight rises with time, in epochs.
        epoch: Updates of one epoch; None takes a tenth of the environment's run.
        **arguments: Of `Agent`.

    Raises:
        ValueError: As for `OneTask`, or if slope or epoch are not above 0.
    """

    RANGES: ClassVar[Mapping[str, Range]] = dict.fromkeys(("slope", "epoch"), Range(1e-6, 1e38))

    def __init__(
        self, env: Any, *, task: int | None = None, slope: float = 0.5, epoch: float | None = None, **arguments: Any
    ) -> None:
        super().__init__(env, task=task, **arguments)
        self.slope, self.epoch = slope, _tenth_of_a_run(self.env) if epoch is None else epoch

    def _hyperparameters(self) -> dict[str, Any]:
        return super()._hyperparameters() | {"slope": self.slope, "epoch": self.epoch}

    def _weights(self, progress: Progress) -> tuple[float, Floats]:
        return 1.0, self._risen(progress.updates.astype(float) * (self.slope / self.epoch))

    @abstractmethod
    def _risen(self, time: Floats) -> Floats:
        """The weight after that time, slope times epochs; [runs] -> [runs]."""


class Sigmoid(Rising):
    """The target counts 1 / (1 + exp(-slope t)): from half of what others count to as much.

    Source: QLS, section 5.3 ("sigmoid schedule"); Kiperwasser and Ballesteros 2018.
    """

    def _risen(self, time: Floats) -> Floats:
        return 1 / (1 + np.exp(-time))


class Exponential(Rising):
    """The target counts 1 - exp(-slope t): from nothing to as much as the others.

    Source: QLS, section 5.3 ("exponential schedule"); Kiperwasser and Ballesteros 2018.
    """

    def _risen(self, time: Floats) -> Floats:
        return 1 - np.exp(-time)


def _tenth_of_a_run(env: VecEnv) -> float:
    return float(option(env, "updates", _EPOCHS)) / _EPOCHS
