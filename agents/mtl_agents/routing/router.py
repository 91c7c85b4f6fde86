"""The base of routers, and the sizes that routing environments have by their spaces."""

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
    """An agent for routing environments, whose observation is a `Dict` with `task` and `depth`.

    Args:
        env: As for `Agent`.
        **arguments: Of `Agent`.

    Attributes:
        num_tasks: Tasks of the environment.
        depth: Decisions of a route at most.
        num_actions: Choices of a decision: blocks and PASS.

    Raises:
        ValueError: If the environment's spaces are not those of a routing environment.
    """

    SIZES: ClassVar[str] = SIZES

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        return routing_sizes(env.observation_space, env.action_space)

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same sizes from the next `learn` on."""
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
            observation: One observation or a batch of them.
            state: Returned as it is; most routers have no recurrent state.
            episode_start: Rows in which a route begins; bool [rows].
            deterministic: Take the likeliest choice instead of sampling.
            action_masks: Valid choices; bool [rows, actions]. Without them, those seen while learning.

        Returns:
            int64 [rows] (or a scalar for one observation), and `state`.
        """

    def _act(self, obs: Parts) -> Index:
        return self.predict(obs, action_masks=masks_of(self.env))[0]


def routing_sizes(observation: AnySpace, action: AnySpace) -> tuple[int, int, int]:
    """Return the numbers of tasks, depths and actions, from a routing environment's spaces.

    Raises:
        ValueError: If the spaces are of another kind.
    """
    task, depth = (part_of(observation, key, spaces.Discrete) for key in ("task", "depth"))
    if task is None or depth is None or not isinstance(action, spaces.Discrete):
        raise ValueError(
            "A bundled router needs a Dict observation with 'task' and 'depth' and a Discrete action, as the "
            f"MTLRouting environments have unwrapped; this environment has {observation} and {action}."
        )
    return int(task.n), int(depth.n), int(action.n)


def dispatched_agents(observation: AnySpace) -> int:
    """Return how many agents a dispatcher picks from; 0 without one."""
    agent = part_of(observation, "agent", spaces.Discrete)
    return 0 if agent is None else int(agent.n) - 1


def value_width(observation: AnySpace) -> int:
    """Return the width of the observation's value; 0 if it has none."""
    value = part_of(observation, "value", spaces.Box)
    return 0 if value is None else int(value.shape[0])
