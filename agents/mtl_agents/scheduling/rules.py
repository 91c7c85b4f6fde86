"""Schedulers without memory, whose weights depend only on the current progress of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments
from mtl_agents.environments import behind
from mtl_agents.random import RandomSchedule
from mtl_agents.scheduling.rule import Floats, Memory, Scheduler, known_losses
from mtl_gym.core.ranges import NOT_NEGATIVE, Range
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import EnvLike

__all__ = [
    "Adaptive",
    "FocalLoss",
    "Greedy",
    "HandCrafted",
    "LossExponentiation",
    "Proportional",
    "RandomSchedule",
    "Uniform",
]


class Uniform(Scheduler):
    """Train all tasks equally: in turn, or together with equal weights.

    Source: QLS, section 5.1 ("Uniform"), the baseline.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> agent = Uniform(make_vec_env("MTLScheduling-Digits-v0", reference=None), seed=0).learn(12)
        >>> agent.env.get_attr("progress")[0].trained[0].astype(int).tolist()
        [2, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    """

    ROLE: ClassVar[str] = "control"

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        return one_hot(progress.trained.argmin(1), self.num_tasks) if self.chooses else np.ones(progress.trained.shape)


class HandCrafted(Scheduler):
    """Give every task a fixed weight.

    Source: QLS, section 5.1 ("Hand Crafted").

    Deviation: the paper chose its weights by a grid search over an unspecified grid. `mtl_agents.search_weights`
    compares weights on validation data.

    Args:
        env: As for `Scheduler`.
        weights: Weight of each task, 0 or more.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the weights do not match the tasks.

    Example:
        >>> HandCrafted("MTLScheduling-Digits-v0", weights=[1, 1, 1, 2, 1, 1, 1, 1, 4, 1])
        HandCrafted(weights=[1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0])
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"weights": NOT_NEGATIVE}

    def __init__(self, env: EnvLike, *, weights: Sequence[float], **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.weights = self._checked(weights)

    def _checked(self, weights: Sequence[float]) -> Floats:
        values = np.asarray(weights, float)
        if values.shape != (self.num_tasks,) or not values.any():
            raise ValueError(
                f"weights={weights!r} is not possible: give {self.num_tasks} numbers, one per task, 0 or more and not "
                "all 0. mtl_agents.search_weights searches for weights."
            )
        return values

    def _hyperparameters(self) -> dict[str, object]:
        return {"weights": self.weights.tolist()}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        return np.broadcast_to(self.weights, progress.trained.shape)


class Proportional(Scheduler):
    """Train each task in proportion to its training samples, as if all samples were in one pool.

    Source: the usual baseline; for example Sanh et al. 2019.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> env = make_vec_env("MTLScheduling-TextMixture-v0", 512)
        >>> agent = Proportional(env, seed=0).learn(4096)
        >>> progress = agent.env.get_attr("progress")[0]
        >>> bool(progress.trained[:, env.batched.targets].mean() < 1)  # of 48 updates
        True
    """

    ROLE: ClassVar[str] = "control"

    def _check_env(self, env: VecEnv) -> None:
        super()._check_env(env)
        base = behind(env)
        if base is not None and not hasattr(base, "data"):
            raise ValueError(
                f"Proportional needs an environment with a data set; {type(base).__name__} has none: use uniform."
            )

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        (data,), split = self.env.get_attr("data", 0), self.env.get_attr("options", 0)[0].split
        return np.broadcast_to(np.array(data.task_sizes(split), float), progress.trained.shape)


class Greedy(Scheduler):
    """Train the task with the highest loss.

    Source: QLS, section 5.1 ("Greedy").

    Deviation: the paper does not specify the loss. We use the validation loss, which is up to date for all tasks,
    unlike the loss of a task's last minibatch.
    """

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        return one_hot(progress.validation_loss.argmax(1), self.num_tasks)


class LossExponentiation(Scheduler):
    """Raise each loss to a power p of 1 or more, so that large losses count more.

    The gradient of L^p is p L^(p - 1) times the gradient of L; the factor is the weight.

    Source: QLS, section 5.1 ("Loss Exponentiation").

    Deviation: L is the loss of the task's last minibatch or, before the first, its validation loss.

    Args:
        env: As for `Scheduler`.
        power: Exponent p.
        **arguments: Arguments of `Agent`.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"control": "weights"}

    RANGES: ClassVar[Mapping[str, Range]] = {"power": Range(1, 1e38)}

    def __init__(self, env: EnvLike, *, power: float = 1.15, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.power = power

    def _hyperparameters(self) -> dict[str, object]:
        return {"power": self.power}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        return self.power * known_losses(progress) ** (self.power - 1)


class FocalLoss(Uniform):
    """Weight all tasks equally, and within tasks the samples that are not classified well yet.

    The environment trains with the focal loss (`focal_gamma`), so that samples are weighted instead of tasks.

    Source: Lin et al. 2017, eq. 4, with their gamma of 2.
    """

    ROLE: ClassVar[str] = "rule"
    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"control": "weights", "focal_gamma": 2.0}


class Adaptive(Scheduler):
    """Favour tasks with low accuracy relative to single-task networks.

    The weight of a task is 1 / (min(1, score / baseline)^alpha + epsilon).

    Source: Jean et al. 2019, adaptive explicit schedules.

    Deviation: score and baseline are validation accuracies; the baseline is the environment's reference. Accuracies lie
    closer together than the BLEU scores of the source, so alpha is large.

    Args:
        env: As for `Scheduler`, made with a reference.
        alpha: Exponent; larger values favour tasks of low accuracy more.
        epsilon: Offset, which limits weights to 1 / epsilon.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the environment has no reference.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"reference": "single-task"}

    RANGES: ClassVar[Mapping[str, Range]] = {"alpha": NOT_NEGATIVE, "epsilon": Range(1e-6, 1e38)}

    def __init__(
        self, env: EnvLike, *, alpha: float = 16.0, epsilon: float = 0.1, **arguments: Unpack[AgentArguments]
    ) -> None:
        super().__init__(env, **arguments)
        self.alpha, self.epsilon = alpha, epsilon

    def _hyperparameters(self) -> dict[str, object]:
        return {"alpha": self.alpha, "epsilon": self.epsilon}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        if np.isnan(progress.reference).any():
            raise ValueError("Adaptive needs reference accuracies: make the environment with reference=....")
        ratio = np.minimum(1, progress.validation_accuracy / np.maximum(progress.reference, 1e-9))
        return 1 / (ratio**self.alpha + self.epsilon)


def one_hot(task: NDArray[np.int64], tasks: int) -> Floats:
    """Return weights of 1 for one task of each run and 0 for the others; int64 [runs] -> float64 [runs, tasks]."""
    return np.eye(tasks)[task]
