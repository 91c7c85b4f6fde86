"""Base of alignment agents, and controls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import ceil
from typing import ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import Agent, AgentArguments, Parts
from mtl_gym.core.ranges import PART, Range
from mtl_gym.core.spaces import part_of
from mtl_gym.integrations.sb3 import EnvLike

Index: TypeAlias = NDArray[np.int64]


class AlignmentAgent(Agent[Parts, object]):
    """Agent that proposes challengers for locations from the current assignment.

    Args:
        env: An id, an environment, a batched environment or an SB3 `VecEnv` of alignment.
        **arguments: Arguments of `Agent`.

    Attributes:
        locations: Number of locations.
        modules: Number of modules.
        challengers: Number of challengers per location.

    Raises:
        ValueError: If the environment is of another family.
    """

    SIZES: ClassVar[str] = "locations, modules and challengers at each location"

    @property
    def none(self) -> int:
        """Action value for no challenger, equal to `modules`."""
        return self.modules

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        observation, action = env.observation_space, env.action_space
        assignment = part_of(observation, "assignment", spaces.MultiDiscrete)
        if (
            assignment is not None
            and isinstance(action, spaces.Discrete)
            and part_of(observation, "location", spaces.Discrete)
        ):
            return len(assignment.nvec), int(action.n) - 1, 1
        if assignment is None or not isinstance(action, spaces.MultiDiscrete):
            raise ValueError(
                f"{cls.__name__} needs a MTLAlignment environment; this environment has {observation} and {action}."
            )
        locations = len(assignment.nvec)
        return locations, int(action.nvec[0]) - 1, len(action.nvec) // locations

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same sizes from the next `learn` on."""
        super().set_env(env, force_reset)
        self.locations, self.modules, self.challengers = self._sizes_of(self.env)

    def predict(
        self,
        observation: Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Index, object]:
        """Return challengers, and `state`.

        They are int64 [rows, locations * challengers] or, where an action is about one location, [rows], without rows
        for a single observation.
        """
        assignment = np.asarray(observation["assignment"])
        one = assignment.ndim == 1
        challengers = self._propose(assignment[None] if one else assignment)
        if isinstance(self.action_space, spaces.Discrete):
            actions = challengers[np.arange(len(challengers)), observation["location"], 0]
        else:
            actions = challengers.reshape(len(challengers), -1)
        return (actions[0] if one else actions), state

    @abstractmethod
    def _propose(self, assignment: Index) -> Index:
        """Return challengers for assignments; int64 [rows, locations] -> [rows, locations, challengers]."""


def chosen_locations(random: np.random.Generator, assignment: Index, share: float) -> NDArray[np.bool_]:
    """Return a random share of the locations of each row, rounded up; bool [rows, locations]."""
    order = random.random(assignment.shape).argsort(1)
    return order.argsort(1) < ceil(share * assignment.shape[1])


class FixedAlignment(AlignmentAgent):
    """Propose no challengers, so that a run keeps its initial assignment.

    Depending on the environment's `start`, `context` and `adapter`, this is single-task training, the oracle, classical
    sharing or parallel adapters.

    Example:
        >>> agent = FixedAlignment("MTLAlignment-Linear-v0", seed=0).learn(2)
        >>> agent.env.get_attr("assignment")[0][0, :4].tolist()
        [0, 1, 2, 3]
    """

    ROLE: ClassVar[str] = "control"

    def _propose(self, assignment: Index) -> Index:
        return np.full((*assignment.shape, self.challengers), self.none)


class RandomAlignment(AlignmentAgent):
    """Propose uniformly random modules for a share of the locations.

    Args:
        env: As for `AlignmentAgent`.
        share: Share of the locations.
        **arguments: Arguments of `Agent`.
    """

    ROLE: ClassVar[str] = "control"
    RANGES: ClassVar[Mapping[str, Range]] = {"share": PART}

    def __init__(self, env: EnvLike, *, share: float = 0.5, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        self.share = share

    def _hyperparameters(self) -> dict[str, object]:
        return {"share": self.share}

    def _propose(self, assignment: Index) -> Index:
        drawn = self.np_random.integers(self.none, size=(*assignment.shape, self.challengers))
        there = chosen_locations(self.np_random, assignment, self.share)
        return np.where(there[..., None], drawn, self.none)
