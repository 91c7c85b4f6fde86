"""Schedules that favour one target task, with a constant weight or a weight that rises during a run.

Deviation: in the paper the hardest task is known (translation). Here it is the task whose single-task network has the
lowest accuracy (the environment's reference), unless the task is given.

Source: QLS, section 5.3 and table 6; Kiperwasser and Ballesteros 2018 for rising weights.
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

# Default number of epochs in a run.
_EPOCHS = 10


@dataclass(frozen=True)
class Target:
    """Target task of a schedule, constant over runs and time.

    Attributes:
        task: Number of the target; None chooses it by the reference.
        tasks: Number of tasks.

    Raises:
        ValueError: If the task does not exist.
    """

    task: int | None
    tasks: int

    def __post_init__(self) -> None:
        """Reject an unknown task."""
        if self.task is not None and self.task >= self.tasks:
            raise ValueError(f"task={self.task!r} is not possible; it takes 0 to {self.tasks - 1}.")

    def weights(self, named: int, favoured: Floats, others: float) -> Floats:
        """Return the weight of each task; float64 [runs, tasks].

        Args:
            named: Target if no task is given.
            favoured: Weight of the target in each run; float64 [runs].
            others: Weight of each other task.
        """
        target = named if self.task is None else self.task
        return np.where(one_hot(np.array([target]), self.tasks) > 0, favoured[:, None], others)

    def check(self, reference: NDArray[np.float32], who: str) -> None:
        """Require a task or a reference.

        Raises:
            ValueError: If both are missing.
        """
        if self.task is None and np.isnan(reference).any():
            raise ValueError(
                f"{who} chooses its target by reference accuracies: give task=..., or make the environment with "
                "reference=...."
            )


class PrioritiseHard(Scheduler):
    """Give the hardest task a weight of 0.98 and every other task a weight of 0.01.

    Source: QLS, section 5.3 ("prioritize hard").

    Args:
        env: As for `Scheduler`; made with a reference, unless `task` is given.
        task: Number of the target task.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the task does not exist, or both task and reference are missing.

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
        """Return the task of lowest single-task accuracy; float32 [tasks]."""
        return int(reference.argmin())


class PrioritiseEasy(PrioritiseHard):
    """Give the easiest task a weight of 0.98 and every other task a weight of 0.01.

    Source: QLS, section 5.3 ("prioritize easy").
    """

    def _named_by(self, reference: NDArray[np.float32]) -> int:
        return int(reference.argmax())


class Rising(Scheduler):
    """Increase the weight of the target task, by default the hardest, during a run; all other weights are 1.

    Source: QLS, section 5.3: a schedule that "tunes the weight of the target task [...] while keeping the rest of the
    weights intact"; Kiperwasser and Ballesteros 2018 for its shape.

    Deviation: in Kiperwasser and Ballesteros the value is the probability of the target, and the other tasks share the
    rest; in QLS the other weights are constant. Kiperwasser and Ballesteros measure time in epochs, and QLS does not
    specify the number of epochs of a run: here an epoch is a tenth of a run.

    Args:
        env: As for `Scheduler`; made with a reference, unless `task` is given.
        task: Number of the target task.
        slope: Slope of the weight over time in epochs.
        epoch: Updates per epoch; None for a tenth of the environment's run.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the task does not exist, both task and reference are missing, or slope or epoch is not above 0.
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
        """Return the weight at a time given as slope times epochs; [runs] -> [runs]."""


class Sigmoid(Rising):
    """Give the target a weight of 1 / (1 + exp(-slope t)), which rises from 0.5 to the 1 of other tasks.

    Source: QLS, section 5.3 ("sigmoid schedule"); Kiperwasser and Ballesteros 2018.
    """

    def _risen(self, time: Floats) -> Floats:
        return 1 / (1 + np.exp(-time))


class Exponential(Rising):
    """Give the target a weight of 1 - exp(-slope t), which rises from 0 to the 1 of other tasks.

    Source: QLS, section 5.3 ("exponential schedule"); Kiperwasser and Ballesteros 2018.
    """

    def _risen(self, time: Floats) -> Floats:
        return 1 - np.exp(-time)


def _tenth_of_a_run(env: VecEnv) -> float:
    return float(options_of(env).get("updates", _EPOCHS)) / _EPOCHS
