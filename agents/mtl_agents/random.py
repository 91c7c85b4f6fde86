"""Random controls for every family: from the action space and the masks alone, or as fixed random routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import Agent, AgentArguments, Parts
from mtl_agents.environments import StandIn, interface
from mtl_agents.files import Tables
from mtl_gym.core.interfaces import ROUTES
from mtl_gym.core.rows import AnySpace, Array
from mtl_gym.core.spaces import part_of
from mtl_gym.integrations.sb3 import EnvLike, has_masks, masks_of

Masks: TypeAlias = NDArray[np.bool_]


class Random(Agent[Array | Parts, object]):
    """A new random valid action at every decision, in any environment.

    Choices are drawn evenly from what the masks allow, numbers evenly between the bounds of a Box.

    Source: QLS, section 5.1 ("Random"), for scheduling.

    Args:
        env: As for `Agent`, of any action space but Tuple, Dict, Text and the like.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If nothing can be drawn evenly from the action space.

    Example:
        >>> agent = Random("MTLScheduling-Digits-v0", seed=0)
        >>> agent.predict(np.zeros((3, 200)))[0].shape
        (3,)
    """

    ROLE: ClassVar[str] = "control"
    SIZES: ClassVar[str] = "numbers of an action"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        space = env.action_space
        if isinstance(space, spaces.Box) and space.is_bounded():
            return space.shape
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            return (spaces.utils.flatdim(space),)
        raise ValueError(
            "Random draws from Discrete, MultiDiscrete, MultiBinary and bounded Box spaces; this environment has "
            f"{space}."
        )

    def predict(
        self,
        observation: Array | Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Array, object]:
        """Draw actions.

        Args:
            observation: One observation or a batch of them, of which the number counts alone.
            state: Returned as it is.
            episode_start: Unused.
            deterministic: Unused.
            action_masks: Valid choices; bool [rows, flat action], two for each number of a MultiBinary action. Without
                them all are valid.

        Returns:
            An action per row (or one for one observation), and `state`.
        """
        rows = rows_in(observation, self.observation_space)
        masks = None if action_masks is None else np.atleast_2d(action_masks)
        actions = draw(self.action_space, 1 if rows is None else rows, masks, self.np_random)
        return (actions[0] if rows is None else actions), state

    def _act(self, obs: Array | Parts) -> Array:
        return self.predict(obs, action_masks=masks_of(self.env) if has_masks(self.env) else None)[0]


class RandomFixed(Agent[Parts, object]):
    """One random route per task, drawn once from the seed and kept: the control for every learned router.

    The environment draws it (`random_routes`): a random block per layer and never PASS, a valid network from a pool, or
    connections of which at least one leads into every sub-network.

    Args:
        env: As for `Agent`, of an environment with routes.
        **arguments: Of `Agent`.

    Attributes:
        routes: Action of a task at a depth, integers [tasks, depth], or at all its decisions, [tasks, *action].

    Raises:
        ValueError: If the environment does not draw routes.

    Example:
        >>> RandomFixed("MTLRouting-Digits-v0", seed=0).routes.shape
        (10, 3)
        >>> RandomFixed("MTLRecurrent-BrainSeries-v0", seed=0).routes.shape
        (4, 24)
    """

    ROLE: ClassVar[str] = "control"
    SIZES: ClassVar[str] = "tasks and decisions, or numbers of an action"

    def __init__(self, env: EnvLike, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        if isinstance(self.env, StandIn):  # the routes of the file take their place
            self.routes: Array = np.zeros(self._sizes_of(self.env), self.action_space.dtype)
        else:
            tasks = self._sizes_of(self.env)[0]
            self.routes = interface(self.env, ROUTES, "RandomFixed").random_routes(tasks, self.np_random)

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        task, depth = (part_of(env.observation_space, key, spaces.Discrete) for key in ("task", "depth"))
        action = env.action_space
        if task is not None and isinstance(action, spaces.MultiBinary):
            return int(task.n), *action.shape
        if task is not None and depth is not None and isinstance(action, spaces.Discrete):
            return int(task.n), int(depth.n)
        raise ValueError(
            "RandomFixed needs a Dict observation with 'task', and a MultiBinary action or 'depth' and a Discrete "
            f"action; this environment has {env.observation_space} and {action}."
        )

    def _tables(self) -> Tables:
        return {"routes": self.routes}

    def predict(
        self,
        observation: Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, object]:
        """Return the next action of each row's route, and `state`."""
        if isinstance(self.action_space, spaces.Discrete):
            return self.routes[observation["task"], observation["depth"]], state
        return self.routes[observation["task"]], state


def rows_in(observation: Array | Parts, space: AnySpace) -> int | None:
    """Return how many observations of a space there are in a batch; None for a single one.

    Example:
        >>> rows_in(np.zeros((3, 8)), spaces.Box(0, 1, (8,))), rows_in(np.zeros(8), spaces.Box(0, 1, (8,)))
        (3, None)
    """
    if isinstance(observation, Mapping):
        assert isinstance(space, spaces.Dict)
        key = next(iter(observation))
        return rows_in(observation[key], space[key])
    return None if np.ndim(observation) == len(space.shape or ()) else len(observation)


def draw(space: AnySpace, rows: int, masks: Masks | None, random: np.random.Generator) -> Array:
    """Draw actions evenly from the valid ones; [rows, *action].

    Args:
        space: Of one action.
        rows: Number of actions.
        masks: Valid choices of the parts of an action side by side, bool [rows, choices]; None if all are valid.
        random: Where to draw from.

    Raises:
        TypeError: If the space is of another kind.

    Example:
        >>> masks = np.array([[True, False, False, False, True]])
        >>> draw(spaces.MultiDiscrete([2, 3]), 1, masks, np.random.default_rng(0))
        array([[0, 2]])
    """
    if isinstance(space, spaces.Discrete):
        return space.start + _choices([int(space.n)], rows, masks, random)[:, 0]
    masks = None if masks is None or masks.all() else masks
    if isinstance(space, spaces.MultiDiscrete):
        drawn = _choices(space.nvec.ravel().tolist(), rows, masks, random).reshape(rows, *space.shape)
        return (space.start + drawn).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        sizes = [2] * int(np.prod(space.shape))
        return _choices(sizes, rows, masks, random).reshape(rows, *space.shape).astype(space.dtype)
    if isinstance(space, spaces.Box):
        return random.uniform(space.low, space.high, (rows, *space.shape)).astype(space.dtype)
    raise TypeError(f"Actions of {space} cannot be drawn.")


def _choices(sizes: list[int], rows: int, masks: Masks | None, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw a choice for each part of an action; int64 [rows, parts]."""
    if masks is None:
        bounds = sizes if min(sizes) < max(sizes) else sizes[0]  # NumPy draws below a single bound much faster
        return random.integers(bounds, size=(rows, len(sizes)))
    lots = np.where(masks, random.random(masks.shape), -1.0)
    parts = np.split(lots, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([part.argmax(1) for part in parts], 1)


# Names of the last release, one class per family.
RandomSchedule = RandomConnections = random = Random
RandomFixedConnections = random_fixed = RandomFixed
