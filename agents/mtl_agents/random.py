"""Random controls for every family: random actions, and fixed random routes."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments, Parts
from mtl_agents.environments import StandIn, interface
from mtl_agents.files import Tables
from mtl_agents.open_loop import OpenLoop
from mtl_agents.runs import part_of_tasks, rows_in, with_tasks_of_runs
from mtl_gym.core.interfaces import ROUTES
from mtl_gym.core.rows import AnySpace, Array
from mtl_gym.core.spaces import part_of
from mtl_gym.integrations.sb3 import EnvLike, has_masks, masks_of

Masks: TypeAlias = NDArray[np.bool_]


class Random(OpenLoop[Array | Parts, object]):
    """Draw a random valid action at every decision, in any environment.

    Choices are uniform over the valid ones, numbers uniform between the bounds of a Box.

    Source: QLS, section 5.1 ("Random"), for scheduling.

    Args:
        env: As for `Agent`, with a Discrete, MultiDiscrete, MultiBinary or bounded Box action space.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the environment has another action space.

    Example:
        >>> agent = Random("MTLScheduling-Digits-v0", seed=0)
        >>> agent.predict(np.zeros((3, 200)))[0].shape
        (3,)
    """

    ROLE: ClassVar[str] = "control"
    STACKS: ClassVar[bool] = True
    SIZES: ClassVar[str] = "numbers of an action"

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        space = env.action_space
        if isinstance(space, spaces.Box) and space.is_bounded():
            return space.shape
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            return (spaces.utils.flatdim(space),)
        raise ValueError(
            "Random needs a Discrete, MultiDiscrete, MultiBinary or bounded Box action space; this environment has "
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
            observation: One observation or a batch of them; only its number of rows is used.
            state: Returned unchanged.
            episode_start: Unused.
            deterministic: Unused.
            action_masks: Valid choices; bool [rows, flat action], two for each number of a MultiBinary action. None
                allows all.

        Returns:
            One action per row, or a single action for a single observation; and `state`.
        """
        rows = rows_in(self._of_runs(observation), self.observation_space)
        actions = self._drawn(rows or 1, None if action_masks is None else np.atleast_2d(action_masks))
        return (actions[0] if rows is None else actions), state

    def plan(self, task: NDArray[np.int64], steps: int) -> Array:
        """Draw actions, as `OpenLoop.plan`, in environments in which all are valid."""
        return np.stack([draw(self.action_space, len(task), None, self.np_random) for _ in range(steps)], 1)

    def _act(self, obs: Array | Parts) -> Array:
        return self._drawn(self.n_envs, masks_of(self.env) if has_masks(self.env) else None)

    def _drawn(self, rows: int, masks: Masks | None) -> Array:
        """Draw actions of all rows, those of each run from its generator; [rows, *action]."""
        parts = [None] * self.runs if masks is None else np.split(masks, self.runs)
        each = zip(parts, self.randoms, strict=True)
        return np.concatenate([draw(self.action_space, rows // self.runs, mask, random) for mask, random in each])


class RandomFixed(OpenLoop[Parts, object]):
    """Follow one fixed random route per task, drawn from the seed; the control for learned routers.

    The environment draws the routes (`random_routes`): a random block per layer without PASS, a valid network from a
    pool, or connections with at least one into every sub-network.

    Args:
        env: As for `Agent`, of an environment that declares `random_routes`.
        **arguments: Arguments of `Agent`.

    Attributes:
        routes: Action of each task at each depth, integers [tasks, depth], or at all decisions, [tasks, *action].

    Raises:
        ValueError: If the environment does not declare `random_routes`.

    Example:
        >>> RandomFixed("MTLRouting-Digits-v0", seed=0).routes.shape
        (10, 3)
        >>> RandomFixed("MTLRecurrent-BrainSeries-v0", seed=0).routes.shape
        (4, 24)
    """

    ROLE: ClassVar[str] = "control"
    STACKS: ClassVar[bool] = True
    SIZES: ClassVar[str] = "tasks and decisions, or numbers of an action"

    def __init__(self, env: EnvLike, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        if isinstance(self.env, StandIn):  # placeholders for the routes in the file
            self.routes: Array = np.zeros(self._sizes_of(self.env), self.action_space.dtype)
        else:
            tasks, draws = self._sizes_of(self.env)[0], interface(self.env, ROUTES, "RandomFixed").random_routes
            self.routes = np.concatenate([draws(tasks, random) for random in self.randoms])

    def _seen(self, obs: Parts) -> Parts:
        return with_tasks_of_runs(obs, self.runs, len(self.routes))

    def _of_run(self, table: Any, run: int) -> Any:
        return part_of_tasks(table, run, self.runs, len(self.routes))

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
        return self._act(self._of_runs(observation)), state

    def _act(self, obs: Parts) -> Array:
        if isinstance(self.action_space, spaces.Discrete):
            return self.routes[obs["task"], obs["depth"]]
        return self.routes[obs["task"]]

    def plan(self, task: NDArray[np.int64], steps: int) -> Array:
        """Return the routes of the tasks, as `OpenLoop.plan`."""
        routes = self.routes[task]
        return routes if isinstance(self.action_space, spaces.Discrete) else np.stack([routes] * steps, 1)


def draw(space: AnySpace, rows: int, masks: Masks | None, random: np.random.Generator) -> Array:
    """Draw actions uniformly from the valid ones; [rows, *action].

    Args:
        space: Space of one action.
        rows: Number of actions.
        masks: Valid choices of all parts of an action, concatenated; bool [rows, choices], or None if all are valid.
        random: Generator of the draws.

    Raises:
        TypeError: If the space is not supported.

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
    raise TypeError(f"Cannot draw actions from {space}: use Discrete, MultiDiscrete, MultiBinary or Box.")


def _choices(sizes: list[int], rows: int, masks: Masks | None, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw a choice for each part of an action; int64 [rows, parts]."""
    if masks is None:
        bounds = sizes if min(sizes) < max(sizes) else sizes[0]  # a single bound is much faster in NumPy
        return random.integers(bounds, size=(rows, len(sizes)))
    lots = np.where(masks, random.random(masks.shape), -1.0)
    parts = np.split(lots, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([part.argmax(1) for part in parts], 1)


# Names in the last release, which had one class per family.
RandomSchedule = RandomConnections = random = Random
RandomFixedConnections = random_fixed = RandomFixed
