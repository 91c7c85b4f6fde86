"""Base class of routers, and sizes of routing environments from their spaces."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import Agent, Parts
from mtl_gym.core.rows import AnySpace
from mtl_gym.core.spaces import part_of
from mtl_gym.integrations.sb3 import EnvLike, masks_of

Index: TypeAlias = NDArray[np.int64]
Masks: TypeAlias = NDArray[np.bool_]
SIZES = "tasks, depths and actions"


class RoutingAgent(Agent[Parts, object]):
    """Agent for routing environments, which observe a `Dict` with `task` and `depth`.

    Args:
        env: As for `Agent`.
        **arguments: Keyword arguments of `Agent`.

    Attributes:
        num_tasks: Number of tasks.
        depth: Maximum number of decisions in a route.
        num_actions: Number of choices of a decision, blocks and PASS.

    Raises:
        ValueError: If the environment's spaces are not those of a routing environment.
    """

    SIZES: ClassVar[str] = SIZES

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        return routing_sizes(env.observation_space, env.action_space)

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Use another environment of the same sizes for the next `learn`."""
        super().set_env(env, force_reset)
        self.num_tasks, self.depth, self.num_actions = self._sizes_of(self.env)

    @abstractmethod
    def predict(
        self,
        observation: Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Index, object]:
        """Choose blocks.

        Args:
            observation: One observation or a batch of observations.
            state: Returned unchanged by routers without a recurrent state.
            episode_start: Rows in which a route begins; bool [rows].
            deterministic: Take the most probable choice instead of sampling.
            action_masks: Valid choices, None for those known from learning; bool [rows, actions].

        Returns:
            int64 [rows] (or a scalar for one observation), and `state`.
        """

    def _act(self, obs: Parts) -> Index:
        return self.predict(obs, action_masks=masks_of(self.env))[0]


def routing_sizes(observation: AnySpace, action: AnySpace) -> tuple[int, int, int]:
    """Return the numbers of tasks, depths and actions from the spaces of a routing environment.

    Raises:
        ValueError: If the spaces are not those of a routing environment.
    """
    task, depth = (part_of(observation, key, spaces.Discrete) for key in ("task", "depth"))
    if task is None or depth is None or not isinstance(action, spaces.Discrete):
        raise ValueError(
            "A router needs a Dict observation with 'task' and 'depth' and a Discrete action; this environment has "
            f"{observation} and {action}. Use an MTLRouting environment without observation or action wrappers."
        )
    return int(task.n), int(depth.n), int(action.n)


def dispatched_agents(observation: AnySpace) -> int:
    """Return the number of agents of the dispatcher; 0 without a dispatcher."""
    agent = part_of(observation, "agent", spaces.Discrete)
    return 0 if agent is None else int(agent.n) - 1


def value_width(observation: AnySpace) -> int:
    """Return the width of the `value` in observations; 0 without one."""
    value = part_of(observation, "value", spaces.Box)
    return 0 if value is None else int(value.shape[0])


def draws_on_pool(observation: AnySpace) -> bool:
    """Return True if valid choices depend on the modules chosen so far, which the observation then holds."""
    return isinstance(observation, spaces.Dict) and "chosen" in observation.spaces
