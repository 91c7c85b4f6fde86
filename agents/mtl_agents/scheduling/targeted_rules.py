"""Schedules that favour one task: constant ones, and ones whose weight for it rises during a run.

Deviation: the paper knows which of its tasks is hardest, translation. Here that is the task whose single-task network
has the lowest accuracy (the environment's reference), unless the task is given.

Source: QLS, section 5.3 and table 6; Kiperwasser and Ballesteros 2018 for the rising ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments
from mtl_agents.environments import options_of
from mtl_agents.scheduling.rule import Floats, Memory, Scheduler
from mtl_agents.scheduling.rules import one_hot
from mtl_gym.core.ranges import Range
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import EnvLike

# Units of time in a run, where the user does not say how long one is.
_EPOCHS = 10


@dataclass(frozen=True)
class Target:
    """The task that a schedule favours, the same in all runs and from beginning to end.

    Attributes:
        task: Its number; None leaves it to the reference.
        tasks: Number of tasks.

    Raises:
        ValueError: If there is no such task.
    """

    task: int | None
    tasks: int

    def __post_init__(self) -> None:
        """Refuse a task that is not there."""
        if self.task is not None and self.task >= self.tasks:
            raise ValueError(f"task={self.task!r} is not possible: there are tasks 0 to {self.tasks - 1}.")

    def weights(self, named: int, favoured: Floats, others: float) -> Floats:
        """Return the weight of each task; [runs] -> [runs, tasks].

        Args:
            named: The target where no task is given.
            favoured: Weight of the target in each run.
            others: Weight of each other task.
        """
        target = named if self.task is None else self.task
        return np.where(one_hot(np.array([target]), self.tasks) > 0, favoured[:, None], others)

    def check(self, reference: NDArray[np.float32], who: str) -> None:
        """Refuse to go without both a task and a reference.

        Raises:
            ValueError: If there is neither.
        """
        if self.task is None and np.isnan(reference).any():
            raise ValueError(
                f"{who} favours the task that its reference names: give task=..., or make the environment with "
                "reference=...."
            )


class PrioritiseHard(Scheduler):
    """The hardest task counts 0.98, every other one 0.01.

    Source: QLS, section 5.3 ("prioritize hard").

    Args:
        env: As for `Scheduler`; made with a reference, unless `task` is given.
        task: The number of the target task.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If there is no such task, or neither a task nor a reference.

    Example:
        >>> PrioritiseHard("MTLScheduling-Digits-v0", task=3)
        PrioritiseHard(task=3)
    """

    def __init__(self, env: EnvLike, *, task: int | None = None, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.target = Target(task, self.num_tasks)

    def _hyperparameters(self) -> dict[str, object]:
        return {"task": self.target.task}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        self.target.check(progress.reference, type(self).__name__)
        favoured = np.full(len(progress.updates), 0.98)
        return self.target.weights(self._named_by(progress.reference), favoured, others=0.01)

    def _named_by(self, reference: NDArray[np.float32]) -> int:
        """Return the target by the accuracies of single-task networks, [tasks]: the hardest."""
        return int(reference.argmin())


class PrioritiseEasy(PrioritiseHard):
    """The easiest task counts 0.98, every other one 0.01.

    Source: QLS, section 5.3 ("prioritize easy").
    """

    def _named_by(self, reference: NDArray[np.float32]) -> int:
        return int(reference.argmax())


class Rising(Scheduler):
    """The weight of the target task, by default the hardest, rises during a run; all others keep 1.

    Source: QLS, section 5.3: a schedule that "tunes the weight of the target task [...] while keeping the rest of the
    weights intact"; Kiperwasser and Ballesteros 2018 for its shape.

    Deviation: in Kiperwasser and Ballesteros it is the probability of the target, and what it leaves is shared by the
    other tasks; QLS leaves their weights alone. Time is theirs in epochs, of which QLS does not say how many a run has:
    here one lasts a tenth of a run.

    Args:
        env: As for `Scheduler`; made with a reference, unless `task` is given.
        task: The number of the target task.
        slope: How fast the weight rises with time, in epochs.
        epoch: Updates of one epoch; None takes a tenth of the environment's run.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If there is no such task, or neither a task nor a reference, or slope or epoch are not above 0.
    """

    RANGES: ClassVar[Mapping[str, Range]] = dict.fromkeys(("slope", "epoch"), Range(1e-6, 1e38))

    def __init__(
        self,
        env: EnvLike,
        *,
        task: int | None = None,
        slope: float = 0.5,
        epoch: float | None = None,
        **arguments: Unpack[AgentArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self.target = Target(task, self.num_tasks)
        self.slope, self.epoch = slope, _tenth_of_a_run(self.env) if epoch is None else epoch

    def _hyperparameters(self) -> dict[str, object]:
        return {"task": self.target.task, "slope": self.slope, "epoch": self.epoch}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        self.target.check(progress.reference, type(self).__name__)
        favoured = self._risen(progress.updates.astype(float) * (self.slope / self.epoch))
        return self.target.weights(int(progress.reference.argmin()), favoured, others=1.0)

    @abstractmethod
    def _risen(self, time: Floats) -> Floats:
        """Return the weight after some time, slope times epochs; [runs] -> [runs]."""


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
    return float(options_of(env).get("updates", _EPOCHS)) / _EPOCHS
