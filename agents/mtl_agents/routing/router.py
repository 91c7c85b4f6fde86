"""What routers add to agents: tasks, depths and blocks from the environment's spaces, and masks of valid choices."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import Agent, Blank

Masks: TypeAlias = NDArray[np.bool_]


class RoutingAgent(Agent):
    """An agent for routing environments, whose observation is a `Dict` with `task` and `depth`.

    Args:
        env: As for `Agent`.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If the environment's spaces are not those of a routing environment.
    """

    SIZES: ClassVar[str] = "tasks, depths and actions"

    @property
    def num_tasks(self) -> int:
        """Tasks of the environment."""
        return self.sizes[0]

    @property
    def depth(self) -> int:
        """Decisions of a route at most."""
        return self.sizes[1]

    @property
    def num_actions(self) -> int:
        """Choices of a decision: blocks and PASS."""
        return self.sizes[2]

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        return routing_sizes(env.observation_space, env.action_space)

    @classmethod
    def _blank(cls, num_envs: int, *sizes: Any) -> Blank:
        return BlankRouting(num_envs, *sizes)

    def _more_sizes(self) -> list[int | None]:
        return [value_width(self.observation_space), dispatched_agents(self.observation_space)]

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[NDArray[np.int64], Any]:
        """Choose blocks.

        Args:
            observation: One observation or a batch of them.
            state: Handed back as it is; most routers have no recurrent state.
            episode_start: Rows in which a route begins; bool [rows].
            deterministic: Take the likeliest choice instead of sampling.
            action_masks: Valid choices; bool [rows, actions]. Without them, those seen while learning.

        Returns:
            int64 [rows] (or a scalar for one observation), and `state`.
        """

    def _act(self, obs: Any) -> NDArray[np.int64]:
        return self.predict(obs, action_masks=self._masks())[0]

    def _layers(self) -> list[NDArray[np.int64]]:
        """The blocks that exist at each depth, without PASS; an environment that does not tell is taken to have all."""
        try:
            masks = self.env.get_attr("masks")[0]
        except AttributeError:
            masks = np.ones((self.depth, self.num_actions), bool)
        return [np.flatnonzero(mask[:-1]) for mask in masks]

    def _masks(self) -> Masks:
        whole = getattr(self.env, "action_masks", None)
        return whole() if whole is not None else np.stack(self.env.env_method("action_masks"))


class BlankRouting(Blank):
    """Stands for the routing environment of an agent that was loaded to predict."""

    def __init__(
        self, num_envs: int, tasks: int, depth: int, actions: int, width: int = 0, agents: int | None = None
    ) -> None:
        value = spaces.Box(-np.inf, np.inf, (width,), np.float32)
        space = spaces.Dict(value=value, task=spaces.Discrete(tasks), depth=spaces.Discrete(depth))
        if agents is not None:
            space["agent"] = spaces.Discrete(agents + 1)
        super().__init__(num_envs, space, spaces.Discrete(actions))


def routing_sizes(observation: spaces.Space[Any], action: spaces.Space[Any]) -> tuple[int, int, int]:
    """Numbers of tasks, depths and actions, from a routing environment's spaces.

    Raises:
        ValueError: If the spaces are of another kind.
    """
    known = isinstance(observation, spaces.Dict) and {"task", "depth"} <= set(observation.spaces)
    if not known or not isinstance(action, spaces.Discrete):
        raise ValueError(
            "A bundled router needs a Dict observation with 'task' and 'depth' and a Discrete action, as the "
            f"MTLRouting environments have unwrapped; this environment has {observation} and {action}."
        )
    return int(observation["task"].n), int(observation["depth"].n), int(action.n)  # type: ignore[index]


def dispatched_agents(observation: spaces.Space[Any]) -> int | None:
    """How many agents a dispatcher picks from; None without one."""
    known = isinstance(observation, spaces.Dict) and "agent" in observation.spaces
    return int(observation["agent"].n) - 1 if known else None  # type: ignore[index]


def value_width(observation: spaces.Space[Any]) -> int:
    """Width of the observation's value; 0 if it has none."""
    known = isinstance(observation, spaces.Dict) and "value" in observation.spaces
    return int(observation["value"].shape[0]) if known else 0  # type: ignore[index]
