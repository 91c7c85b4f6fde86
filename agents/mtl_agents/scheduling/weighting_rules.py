"""Schedulers with memory, whose weights depend on the progress of a run since its first update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments
from mtl_agents.scheduling.rule import Floats, Memory, Scheduler, known_losses
from mtl_gym.core.ranges import NOT_NEGATIVE, PART, Range
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import EnvLike


class Homoscedastic(Scheduler):
    """Weight each loss by the inverse of a learned variance of the task.

    With s the logarithm of the variance, the joint loss is the sum of exp(-s) L + s / 2. The weight is exp(-s), and s
    follows its negative gradient, exp(-s) L - 1 / 2, with one step per decision.

    Source: Kendall et al. 2018, eq. 10.

    Deviation: s takes plain gradient steps on the loss of the previous minibatch; a task not trained yet keeps its s.

    Args:
        env: As for `Scheduler`.
        learning_rate: Learning rate of s.
        **arguments: Arguments of `Agent`.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"control": "weights"}

    RANGES: ClassVar[Mapping[str, Range]] = {"learning_rate": NOT_NEGATIVE}

    def __init__(self, env: EnvLike, *, learning_rate: float = 0.01, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.learning_rate = learning_rate

    def _hyperparameters(self) -> dict[str, object]:
        return {"learning_rate": self.learning_rate}

    def _fresh(self, progress: Progress) -> Memory:
        return {"log_variance": np.zeros(progress.train_loss.shape)}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        s = memory["log_variance"]
        gradient = np.nan_to_num(0.5 - np.exp(-s) * progress.train_loss)
        memory["log_variance"] = s - self.learning_rate * gradient
        return np.exp(-memory["log_variance"])


class SelfPaced(Scheduler):
    """Train easy tasks first: weight tasks by the margin between their loss and a rising pace.

    The weight has the closed form w = max(0, 1 - L / pace), which minimises w L + pace (w^2 / 2 - w). The pace begins
    at `start` times the mean loss of all tasks and is multiplied by `growth` at every decision.

    Source: Li et al. 2017, applied to tasks instead of samples.

    Deviation: the regulariser of the source is for linear models that are solved exactly in every round. This one is
    the linear regulariser of self-paced learning (Jiang et al. 2014). Losses are those of the last minibatch or, before
    the first, of the validation data.

    Args:
        env: As for `Scheduler`.
        start: Initial pace, relative to the mean loss at the beginning of the run.
        growth: Factor of the pace per decision.
        **arguments: Arguments of `Agent`.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"control": "weights"}

    RANGES: ClassVar[Mapping[str, Range]] = {"start": Range(1e-6, 1e38), "growth": Range(1, 1e38)}

    def __init__(
        self, env: EnvLike, *, start: float = 1.5, growth: float = 1.001, **arguments: Unpack[AgentArguments]
    ) -> None:
        super().__init__(env, **arguments)
        self.start, self.growth = start, growth

    def _hyperparameters(self) -> dict[str, object]:
        return {"start": self.start, "growth": self.growth}

    def _fresh(self, progress: Progress) -> Memory:
        return {"pace": self.start * progress.validation_loss.mean(1, keepdims=True, dtype=float)}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        pace = memory["pace"]
        memory["pace"] = pace * self.growth
        return np.maximum(0, 1 - known_losses(progress) / pace)


class DTP(Scheduler):
    """Dynamic task prioritisation: favour hard tasks, and within tasks hard samples.

    With k a running mean of the task's accuracy, the weight is -(1 - k)^gamma log k. The environment's focal loss
    weights samples (`focal_gamma`); with 0, which tagging tasks need, only tasks are prioritised.

    Source: Guo et al. 2018, eqs. 1 to 3: focal terms at task level and at example level over a smoothed key performance
    indicator.

    Deviation: the indicator is the validation accuracy, not that of the minibatch. The running mean begins at the
    initial accuracy of the run. k is at least 0.001.

    Args:
        env: As for `Scheduler`.
        gamma: Focusing parameter of tasks; that of samples is the environment's.
        smoothing: Share of a new accuracy in the running mean.
        **arguments: Arguments of `Agent`.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"control": "weights", "focal_gamma": 2.0}

    RANGES: ClassVar[Mapping[str, Range]] = {"gamma": NOT_NEGATIVE, "smoothing": PART}

    def __init__(
        self, env: EnvLike, *, gamma: float = 1.0, smoothing: float = 0.1, **arguments: Unpack[AgentArguments]
    ) -> None:
        super().__init__(env, **arguments)
        self.gamma, self.smoothing = gamma, smoothing

    def _check_env(self, env: VecEnv) -> None:
        """Accept any options: without the focal loss, samples are not weighted."""

    def _hyperparameters(self) -> dict[str, object]:
        return {"gamma": self.gamma, "smoothing": self.smoothing}

    def _fresh(self, progress: Progress) -> Memory:
        return {"accuracy": progress.validation_accuracy.astype(float)}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        mean = memory["accuracy"]
        memory["accuracy"] = mean + self.smoothing * (progress.validation_accuracy - mean)
        k = memory["accuracy"].clip(1e-3, 1)
        return -((1 - k) ** self.gamma) * np.log(k)


class GradNorm(Scheduler):
    """Balance the tasks' gradient norms at the shared layers, with larger norms for tasks that learn slowly.

    With G the norm of a task's weighted gradient, and r its loss relative to its first loss, divided by the mean over
    tasks, the weights follow the negative gradient of |G - mean(G) r^alpha| with a constant target. They are then
    scaled to a mean of 1.

    Source: Chen et al. 2018b, eqs. 1 and 2, algorithm 1.

    Norms are taken over all weight matrices of the encoder's last layer (`SharedNetwork.last_shared`); for `tagging`,
    both directions of the LSTM.

    Deviation: one step per decision, on the previous minibatch. Before the scaling, weights are at least 0.001.

    Args:
        env: As for `Scheduler`, made with gradient norms.
        alpha: Exponent; larger values favour slow tasks more.
        learning_rate: Learning rate of the weights.
        **arguments: Arguments of `Agent`.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"control": "weights", "gradient_norms": True}

    RANGES: ClassVar[Mapping[str, Range]] = {"alpha": NOT_NEGATIVE, "learning_rate": NOT_NEGATIVE}

    def __init__(
        self, env: EnvLike, *, alpha: float = 1.5, learning_rate: float = 0.025, **arguments: Unpack[AgentArguments]
    ) -> None:
        super().__init__(env, **arguments)
        self.alpha, self.learning_rate = alpha, learning_rate

    def _hyperparameters(self) -> dict[str, object]:
        return {"alpha": self.alpha, "learning_rate": self.learning_rate}

    def _fresh(self, progress: Progress) -> Memory:
        shape = progress.train_loss.shape
        return {"weight": np.ones(shape), "first_loss": np.full(shape, np.nan)}

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        first = memory["first_loss"]
        memory["first_loss"] = first = np.where(np.isnan(first), progress.train_loss, first)
        weight, norm = memory["weight"], progress.gradient_norm.astype(float)
        rate = progress.train_loss / np.maximum(first, 1e-8)
        target = (weight * norm).mean(1, keepdims=True) * (rate / rate.mean(1, keepdims=True)) ** self.alpha
        step = np.nan_to_num(np.sign(weight * norm - target) * norm)
        weight = np.maximum(weight - self.learning_rate * step, 1e-3)
        memory["weight"] = weight / weight.mean(1, keepdims=True)
        return memory["weight"]
