"""Schedulers that treat tasks as the arms of a bandit, and learn within a run what training each of them gains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from gymnasium import spaces
from scipy.special import softmax
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments
from mtl_agents.environments import StandIn
from mtl_agents.scheduling.rule import Floats, Memory, Scheduler, known_losses, targets_of
from mtl_gym.core.ranges import POSITIVE, Range
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import EnvLike

# Smoothing of a running estimate: the share of the old value in the new one.
SMOOTHING = Range(0, 1, "most")
# Least divisor of rewards.
LEAST = 1e-12


class Bandit(Scheduler):
    """Rule that estimates a reward of each task from the decisions of a run.

    The memory of a run has the estimate, and the shares, losses, minibatches and number of the last decision.

    Args:
        env: As for `Scheduler`.
        smoothing: Share of the old estimate in the new one.
        **arguments: Arguments of `Agent`.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"smoothing": SMOOTHING}

    def __init__(self, env: EnvLike, *, smoothing: float, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.smoothing = smoothing

    def _hyperparameters(self) -> dict[str, object]:
        return {"smoothing": self.smoothing}

    def _fresh(self, progress: Progress) -> Memory:
        runs, tasks = progress.trained.shape
        return {
            "estimate": np.zeros((runs, tasks)),
            "share": np.full((runs, tasks), 1 / tasks),
            "loss": progress.validation_loss.astype(float),
            "trained": progress.trained.astype(float),
            "decisions": np.zeros((runs, 1)),
        }

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        practised = progress.trained > memory["trained"]
        reward, old, kept = self._rewards(progress, memory), memory["estimate"], self._kept(memory)
        new = np.where(practised, kept * old + (1 - kept) * reward, old)
        memory |= {"estimate": new, "loss": progress.validation_loss.astype(float)}
        memory |= {"trained": progress.trained.astype(float), "decisions": memory["decisions"] + 1}
        memory["share"] = self._shares(progress, memory)
        return memory["share"]

    def _kept(self, memory: Memory) -> Floats | float:
        """Return the share of the old estimate in the new one; [runs, tasks] or one number."""
        return self.smoothing

    @abstractmethod
    def _rewards(self, progress: Progress, memory: Memory) -> Floats:
        """Return the reward of each task in the last decision, if it was practised; [runs, tasks]."""

    @abstractmethod
    def _shares(self, progress: Progress, memory: Memory) -> Floats:
        """Return the probability of each task in the next decision; [runs, tasks]."""


class ODM(Bandit):
    """Online data mixing: draw tasks by an exponential-weights bandit with a decaying exploration rate.

    With K tasks, the rate of decision t is e_t = min(1 / K, sqrt(log K / (K t))). The probability of a task is
    (1 - K e_t) softmax(e_(t-1) R) + e_t, and the estimate R of a drawn task becomes a R + (1 - a) r / p, with p the
    probability with which it was drawn and r its reward.

    Source: Albalak et al. 2023, algorithm 1, from secondary sources, which also have a = 0.9; Auer et al. 2002 for
    Exp3.

    Deviation: the source's reward is the loss of the task's last minibatch (`reward="loss"`). By default it is the
    decrease in validation loss, relative to the largest change of the run so far: the loss of a task that cannot be
    learned stays high, so that the source's reward favours noise. Graves et al. 2017 scale such gains by their
    quantiles. The source has K domains of a language model and a warm-up; here all runs begin with equal
    probabilities. With control="weights" every task is trained, so that rewards are not divided by p.

    Args:
        env: As for `Scheduler`.
        smoothing: a; the share of the old estimate in the new one.
        reward: "decrease" or "loss".
        **arguments: Arguments of `Agent`.

    Example:
        >>> ODM("MTLScheduling-Digits-v0", reward="loss")
        ODM(smoothing=0.9, reward='loss')
    """

    def __init__(
        self,
        env: EnvLike,
        *,
        smoothing: float = 0.9,
        reward: Literal["decrease", "loss"] = "decrease",
        **arguments: Unpack[AgentArguments],
    ) -> None:
        super().__init__(env, smoothing=smoothing, **arguments)
        if reward not in ("decrease", "loss"):
            raise ValueError(f"reward={reward!r} is not possible; it takes 'decrease' or 'loss'.")
        self.reward = reward

    def _hyperparameters(self) -> dict[str, object]:
        return super()._hyperparameters() | {"reward": self.reward}

    def _fresh(self, progress: Progress) -> Memory:
        return super()._fresh(progress) | {"largest": np.zeros((len(progress.updates), 1))}

    def _rewards(self, progress: Progress, memory: Memory) -> Floats:
        reward = known_losses(progress) if self.reward == "loss" else self._decrease(progress, memory)
        return reward / memory["share"] if self.chooses else reward

    def _decrease(self, progress: Progress, memory: Memory) -> Floats:
        """Return the decrease of validation losses, relative to the largest change so far; [runs, tasks]."""
        decrease = memory["loss"] - progress.validation_loss
        memory["largest"] = np.maximum(memory["largest"], np.abs(decrease).max(1, keepdims=True))
        return decrease / np.maximum(memory["largest"], LEAST)

    def _shares(self, progress: Progress, memory: Memory) -> Floats:
        decisions = memory["decisions"]
        now, before = self._rate(decisions), self._rate(np.maximum(decisions - 1, 1))
        return (1 - self.num_tasks * now) * softmax(before * memory["estimate"], axis=1) + now

    def _rate(self, decisions: Floats) -> Floats:
        """Return the exploration rate e_t; [runs, 1] -> [runs, 1]."""
        return np.minimum(1 / self.num_tasks, np.sqrt(np.log(self.num_tasks) / (self.num_tasks * decisions)))


class TargetGain(Bandit):
    """Draw tasks by a softmax of what training each of them gained on the tasks that count.

    The estimate of a task is a running mean of the decrease of the targets' mean validation loss in the decisions that
    trained it. Estimates are divided by the largest, in absolute terms, and by the temperature. A task not trained yet
    counts as the best one.

    Source: softmax action selection (Sutton and Barto 2018, section 2.8, without a gradient step); Graves et al. 2017,
    section 3.1, for the target's gain as the reward ("target prediction gain").

    Deviation: Graves et al. have Exp3.S over their gains; with the few decisions of a run, a softmax of means that
    begins with optimism tries every task once.

    Args:
        env: As for `Scheduler`, of an environment with `target_tasks`.
        smoothing: Share of the old estimate in the new one.
        temperature: Temperature of the softmax, in units of the largest estimate.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If all tasks of the environment count, or it trains all in a decision (control="weights"), which
            does not tell what each of them gained.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> TargetGain(make_vec_env("MTLScheduling-TextMixture-v0"), temperature=0.2)
        TargetGain(smoothing=0.5, temperature=0.2)
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"temperature": POSITIVE}

    def __init__(
        self,
        env: EnvLike,
        *,
        smoothing: float = 0.5,
        temperature: float = 0.1,
        **arguments: Unpack[AgentArguments],
    ) -> None:
        super().__init__(env, smoothing=smoothing, **arguments)
        self.temperature = temperature

    def _hyperparameters(self) -> dict[str, object]:
        return super()._hyperparameters() | {"temperature": self.temperature}

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        if not isinstance(env, StandIn):
            targets_of(env, cls.__name__)
        sizes = super()._sizes_of(env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise ValueError(
                f"{cls.__name__} needs decisions that train a single task, but the actions of this environment are "
                f'weights, {env.action_space}: make it with control="choice".'
            )
        return sizes

    def _rewards(self, progress: Progress, memory: Memory) -> Floats:
        targets = targets_of(self.env, type(self).__name__)
        return (memory["loss"] - progress.validation_loss)[:, targets].mean(1, keepdims=True)

    def _kept(self, memory: Memory) -> Floats:
        return np.where(memory["trained"] > 0, self.smoothing, 0)

    def _shares(self, progress: Progress, memory: Memory) -> Floats:
        tried = progress.trained > 0
        scaled = memory["estimate"] / np.maximum(np.abs(memory["estimate"]).max(1, keepdims=True), LEAST)
        best = np.where(tried, scaled, -1).max(1, keepdims=True)
        return softmax(np.where(tried, scaled, best) / self.temperature, axis=1)
