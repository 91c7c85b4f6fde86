"""What all agents share that propose modules for locations, and those that learn nothing from what came of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import Agent, Blank
from mtl_gym.core.ranges import PART, Range

Index = NDArray[np.int64]


class AlignmentAgent(Agent):
    """Names challengers for locations, from the assignment that it sees.

    Args:
        env: An id, an environment, a batched environment or an SB3 `VecEnv` of alignment.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If the environment is of another family.
    """

    SIZES: ClassVar[str] = "locations, modules and challengers at each location"

    @property
    def none(self) -> int:
        """What stands for no challenger."""
        return self.sizes[1]

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        observation, action = env.observation_space, env.action_space
        known = isinstance(observation, spaces.Dict) and {"assignment", "score", "usage"} <= set(observation.spaces)
        if not known or not isinstance(action, spaces.MultiDiscrete):
            raise ValueError(
                f"{cls.__name__} names modules for locations, as the MTLAlignment environments let it; "
                f"this environment has {observation} and {action}."
            )
        locations = len(observation["assignment"].nvec)  # type: ignore[index]
        return locations, int(action.nvec[0]) - 1, len(action.nvec) // locations

    @property
    def submappings(self) -> int:
        """D: how many parts of a mapping are chosen each by itself."""
        return int(self.env.get_attr("unit")[0].max()) + 1

    def _more_sizes(self) -> list[int | None]:
        return [self.submappings]

    @classmethod
    def _blank(cls, num_envs: int, *sizes: Any) -> Blank:
        locations, modules, challengers, submappings = sizes
        observation = spaces.Dict(
            assignment=spaces.MultiDiscrete(np.full(locations, modules)),
            score=spaces.Box(0, 1, (locations * challengers,), np.float32),
            usage=spaces.Box(0, locations, (modules,), np.float32),
        )
        action = spaces.MultiDiscrete(np.full(locations * challengers, modules + 1))
        return Blank(num_envs, observation, action, unit=np.arange(submappings))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Index, Any]:
        """Name challengers, as `Agent.predict`; int64 [rows, locations * challengers], or without rows for one."""
        assignment = np.asarray(observation["assignment"])
        one = assignment.ndim == 1
        challengers = self._propose(assignment[None] if one else assignment)
        actions = challengers.reshape(len(challengers), -1)
        return (actions[0] if one else actions), state

    @abstractmethod
    def _propose(self, assignment: Index) -> Index:
        """Challengers for assignments; int64 [rows, locations] -> [rows, locations, challengers]."""


def chosen_locations(random: np.random.Generator, assignment: Index, share: float) -> NDArray[np.bool_]:
    """That share of the locations of each row, rounded up and drawn without replacement; bool [rows, locations]."""
    order = random.random(assignment.shape).argsort(1)
    return order.argsort(1) < ceil(share * assignment.shape[1])


class FixedAlignment(AlignmentAgent):
    """Names no challenger: the assignment stays what the run began with.

    With the environment's `start`, `context` and `adapter` it is single-task training, the oracle, classical sharing or
    parallel adapters.

    Example:
        >>> agent = FixedAlignment("MTLAlignment-Linear-v0", seed=0).learn(2)
        >>> agent.env.get_attr("assignment")[0][0, :4].tolist()
        [0, 1, 2, 3]
    """

    ROLE: ClassVar[str] = "control"

    def _propose(self, assignment: Index) -> Index:
        return np.full((*assignment.shape, self.sizes[2]), self.none)


class RandomAlignment(AlignmentAgent):
    """Names modules at random, for a share of the locations, whatever is in use.

    Args:
        env: As for `AlignmentAgent`.
        share: Of the locations.
        **arguments: Of `Agent`.
    """

    ROLE: ClassVar[str] = "control"
    RANGES: ClassVar[Mapping[str, Range]] = {"share": PART}

    def __init__(self, env: Any, *, share: float = 0.5, **arguments: Any) -> None:
        super().__init__(env, **arguments)
        self.share = share

    def _hyperparameters(self) -> dict[str, Any]:
        return {"share": self.share}

    def _propose(self, assignment: Index) -> Index:
        drawn = self.np_random.integers(self.none, size=(*assignment.shape, self.sizes[2]))
        there = chosen_locations(self.np_random, assignment, self.share)
        return np.where(there[..., None], drawn, self.none)
