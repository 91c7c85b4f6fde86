"""Controls that know more than an observation tells: the next gain, the best shares, or the tasks that count."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.environments import StandIn, interface
from mtl_agents.scheduling.rule import Floats, Memory, Scheduler, targets_of
from mtl_agents.scheduling.rules import one_hot
from mtl_gym.core.interfaces import GAINS, MIX
from mtl_gym.families.scheduling.progress import Progress


class Myopic(Scheduler):
    """Train the task whose next decision adds most to the mean accuracy; the environment tells how much.

    It is the best schedule for a budget of one decision.

    Args:
        env: As for `Scheduler`, of an environment that declares `next_gains`.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the environment does not declare `next_gains`.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> agent = Myopic(make_vec_env("MTLScheduling-Skills-v0"), seed=0).learn(12)
        >>> agent.env.get_attr("progress")[0].trained[0].astype(int).tolist()
        [6, 0, 0, 6, 0, 0]
    """

    ROLE: ClassVar[str] = "control"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        if not isinstance(env, StandIn):
            interface(env, GAINS, cls.__name__)
        return super()._sizes_of(env)

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        gains = interface(self.env, GAINS, type(self).__name__).next_gains(progress.validation_accuracy)
        return one_hot(gains.argmax(1), self.num_tasks)


class BestStatic(Scheduler):
    """Train every task with the constant share that the environment knows to be the best.

    With control="choice", the next task is the one furthest behind its share.

    Args:
        env: As for `Scheduler`, of an environment that declares `best_mix`.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the environment does not declare `best_mix`.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> agent = BestStatic(make_vec_env("MTLScheduling-Skills-v0"), seed=0).learn(12)
        >>> agent.env.get_attr("progress")[0].trained[0].astype(int).tolist()
        [4, 3, 0, 5, 0, 0]
    """

    ROLE: ClassVar[str] = "control"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        if not isinstance(env, StandIn):
            interface(env, MIX, cls.__name__)
        return super()._sizes_of(env)

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        shares = interface(self.env, MIX, type(self).__name__).best_mix()
        if not self.chooses:
            return np.broadcast_to(shares, progress.trained.shape)
        behind = shares * (progress.trained.sum(1, keepdims=True) + 1) - progress.trained
        return one_hot(behind.argmax(1), self.num_tasks)


class TargetOnly(Scheduler):
    """Train the tasks that count, in turn or together, and nothing else.

    Args:
        env: As for `Scheduler`, of an environment with `target_tasks`.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If all tasks of the environment count.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> env = make_vec_env("MTLScheduling-TextMixture-v0")
        >>> agent = TargetOnly(env, seed=0).learn(4)
        >>> int(agent.env.get_attr("progress")[0].trained[0].argmax()) in env.batched.targets
        True
    """

    ROLE: ClassVar[str] = "control"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        if not isinstance(env, StandIn):
            targets_of(env, cls.__name__)
        return super()._sizes_of(env)

    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        targets = targets_of(self.env, type(self).__name__)
        if self.chooses:
            return one_hot(targets[progress.trained[:, targets].argmin(1)], self.num_tasks)
        return np.broadcast_to(np.isin(np.arange(self.num_tasks), targets).astype(float), progress.trained.shape)
