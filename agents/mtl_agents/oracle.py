"""Control that knows the best decisions, in environments that tell them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import Agent, Parts
from mtl_agents.environments import StandIn, interfaces
from mtl_agents.runs import rows_in
from mtl_gym.core.interfaces import ORACLE
from mtl_gym.core.rows import Array


class Oracle(Agent[Array | Parts, object]):
    """Make the best decision, which the environment tells: the upper end of the score.

    Args:
        env: As for `Agent`, of an environment that declares `best_actions`.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the environment does not declare `best_actions`.
    """

    STACKS: ClassVar[bool] = True
    ROLE: ClassVar[str] = "control"
    SIZES: ClassVar[str] = "numbers of an action"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        if not isinstance(env, StandIn):
            interfaces(env, ORACLE, "Oracle")
        return env.action_space.shape or ()

    def predict(
        self,
        observation: Array | Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        best_actions: Array | None = None,
    ) -> tuple[Array, object]:
        """Return the best actions, and `state`.

        Args:
            observation: One observation or a batch of them; only its number of rows is used.
            state: Returned unchanged.
            episode_start: Unused.
            deterministic: Unused.
            best_actions: Best action of each row, `env.unwrapped.best_actions()`; `mtl_gym.evaluate` passes it.

        Raises:
            ValueError: If `best_actions` is missing.
        """
        if best_actions is None:
            raise ValueError(
                "Oracle needs the best actions: call predict(obs, best_actions=env.unwrapped.best_actions()), or use "
                "mtl_gym.evaluate."
            )
        single = rows_in(observation, self.observation_space) is None and len(best_actions) == 1
        return (best_actions[0] if single else best_actions), state

    def _act(self, obs: Array | Parts) -> Array:
        best = [env.best_actions() for env in interfaces(self.env, ORACLE, "Oracle")]
        return self.predict(obs, best_actions=np.concatenate(best))[0]
