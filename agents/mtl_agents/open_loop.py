"""Base of agents that do not look at the state, so that environments need not compute what they would see."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, cast

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import MaybeCallback
from typing_extensions import Self

from mtl_agents.base import Agent, ObsT, StateT
from mtl_agents.environments import declares, interface
from mtl_gym.core.interfaces import OPEN_LOOP
from mtl_gym.core.rows import Array
from mtl_gym.integrations.sb3 import BatchedVecEnv


class OpenLoop(Agent[ObsT, StateT], Generic[ObsT, StateT]):
    """Agent whose actions depend on the task and the step alone.

    `mtl_gym.evaluate` plays whole episodes of its plans in environments that declare `OPEN_LOOP`. In `learn`, these
    environments leave out of their observations what takes time to compute; callbacks see zeros there.
    """

    @abstractmethod
    def plan(self, task: NDArray[np.int64], steps: int) -> Array:
        """Return the actions of whole episodes of the given tasks, int64 [rows]; [rows, steps, *action]."""

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Act as `Agent.learn`."""
        arguments = total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        if not (isinstance(self.env, BatchedVecEnv) and declares(self.env, OPEN_LOOP)):
            return super().learn(*arguments)
        with interface(self.env, OPEN_LOOP, type(self).__name__).unseen():
            super().learn(*arguments)
        self._last_obs = cast(ObsT, self.env.batched.current()[0])
        return self
