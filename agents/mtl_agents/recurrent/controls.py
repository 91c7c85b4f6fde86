"""Base class of agents for recurrent routing, and the control with all connections on."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import Agent, AgentArguments, Parts
from mtl_agents.files import Tables
from mtl_agents.open_loop import OpenLoop
from mtl_agents.random import RandomConnections, RandomFixedConnections
from mtl_gym.core.spaces import part_of
from mtl_gym.integrations.sb3 import EnvLike

__all__ = ["AllConnected", "ConnectionAgent", "RandomConnections", "RandomFixedConnections"]

Bits: TypeAlias = NDArray[np.int8]


class ConnectionAgent(Agent[Parts, object]):
    """Agent for recurrent routing environments, which observe a `Dict` with `units`, `task` and `step`.

    Args:
        env: As for `Agent`.
        **arguments: Keyword arguments of `Agent`.

    Attributes:
        num_tasks: Number of tasks.
        steps: Maximum number of time steps in a sequence.
        connections: Number of connections in an action.

    Raises:
        ValueError: If the environment's spaces are not those of recurrent routing.
    """

    SIZES: ClassVar[str] = "tasks, steps and connections"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        observation, action = env.observation_space, env.action_space
        task, step = (part_of(observation, key, spaces.Discrete) for key in ("task", "step"))
        units = part_of(observation, "units", spaces.Box)
        if units is None or task is None or step is None or not isinstance(action, spaces.MultiBinary):
            raise ValueError(
                f"{cls.__name__} needs a Dict observation with 'units', 'task' and 'step' and a MultiBinary action; "
                f"this environment has {observation} and {action}. Use an MTLRecurrent environment without wrappers."
            )
        return int(task.n), int(step.n), int(action.shape[0])

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Use another environment of the same sizes for the next `learn`."""
        super().set_env(env, force_reset)
        self.num_tasks, self.steps, self.connections = self._sizes_of(self.env)[:3]


class AllConnected(OpenLoop[Parts, object], ConnectionAgent):
    """Control with all connections on at all time steps, also for networks without connections.

    Attributes:
        routes: Connections of each task; int8 [tasks, connections].
    """

    ROLE: ClassVar[str] = "control"

    def __init__(self, env: EnvLike, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.routes = np.ones((self.num_tasks, self.connections), np.int8)

    def _tables(self) -> Tables:
        return {"routes": self.routes}

    def predict(
        self,
        observation: Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Bits, object]:
        """Return the connections of each row's task, int8 [rows, connections], and `state`."""
        return self.routes[observation["task"]], state

    def plan(self, task: NDArray[np.int64], steps: int) -> Bits:
        """Return the connections of each step, as `OpenLoop.plan`; int8 [rows, steps, connections]."""
        return np.stack([self.routes[task]] * steps, 1)
