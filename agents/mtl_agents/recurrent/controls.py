"""What agents of recurrent routing add to agents, and those that do not learn: connections fixed, random, or all on."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import Agent, Blank

Bits: TypeAlias = NDArray[np.int8]


class ConnectionAgent(Agent):
    """An agent for recurrent routing, whose observation is a `Dict` with `units`, `task` and `step`.

    Args:
        env: As for `Agent`.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If the environment's spaces are not those of recurrent routing.
    """

    SIZES: ClassVar[str] = "tasks, steps and connections"

    @property
    def num_tasks(self) -> int:
        """Tasks of the environment."""
        return self.sizes[0]

    @property
    def steps(self) -> int:
        """Time steps of a sequence at most."""
        return self.sizes[1]

    @property
    def connections(self) -> int:
        """Connections of an action."""
        return self.sizes[2]

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        observation, action = env.observation_space, env.action_space
        parts = observation.spaces if isinstance(observation, spaces.Dict) else {}
        if not {"units", "task", "step"} <= set(parts) or not isinstance(action, spaces.MultiBinary):
            raise ValueError(
                f"{cls.__name__} needs a Dict observation with 'units', 'task' and 'step' and a MultiBinary action, as "
                f"the MTLRecurrent environments have unwrapped; this environment has {observation} and {action}."
            )
        task, step = (parts[name] for name in ("task", "step"))
        return int(task.n), int(step.n), int(action.n)  # type: ignore[attr-defined, arg-type]

    @classmethod
    def _blank(cls, num_envs: int, *sizes: Any) -> Blank:
        tasks, steps, connections, width = sizes
        units = spaces.Box(-np.inf, np.inf, (width,), np.float32)
        space = spaces.Dict(units=units, task=spaces.Discrete(tasks), step=spaces.Discrete(steps))
        return Blank(num_envs, space, spaces.MultiBinary(connections))

    def _more_sizes(self) -> list[int | None]:
        return [int(self.observation_space["units"].shape[0])]  # type: ignore[index]


class FixedConnections(ConnectionAgent):
    """One set of connections per task, the same at all time steps.

    Attributes:
        routes: Connections of each task; int8 [tasks, connections].
    """

    ROLE: ClassVar[str] = "control"
    _STATE: ClassVar[tuple[str, ...]] = ("routes",)

    def __init__(self, env: Any, **arguments: Any) -> None:
        super().__init__(env, **arguments)
        self.routes = self._routes()

    @abstractmethod
    def _routes(self) -> Bits:
        """The connections of each task; int8 [tasks, connections]."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Bits, Any]:
        """The connections of each row's task; int8 [rows, connections]."""
        return self.routes[observation["task"]], state


class RandomFixedConnections(FixedConnections):
    """Connections drawn once from the seed for each task, and kept: the control for every learned router.

    Each is on or off with equal chance, and at least one leads into every sub-network.

    Example:
        >>> RandomFixedConnections("MTLRecurrent-BrainSeries-v0", seed=0).routes.shape
        (4, 24)
    """

    def _routes(self) -> Bits:
        if isinstance(self.env, Blank):  # what the file holds takes their place
            return np.zeros((self.num_tasks, self.connections), np.int8)
        return self.env.get_attr("random_routes")[0](self.num_tasks, self.np_random)


class AllConnected(FixedConnections):
    """Every connection is on at all time steps: nothing is routed. For networks that have nothing to route as well."""

    def _routes(self) -> Bits:
        return np.ones((self.num_tasks, self.connections), np.int8)


class RandomConnections(ConnectionAgent):
    """Connections that are each on or off with equal chance, anew at every time step."""

    ROLE: ClassVar[str] = "control"

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Bits, Any]:
        """Random connections; int8 [rows, connections]."""
        shape = *np.shape(observation["task"]), self.connections
        return self.np_random.integers(2, size=shape).astype(np.int8), state
