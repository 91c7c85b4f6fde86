"""Controls with fixed routes: the static baselines as policies in the same environment.

A baseline network is a fixed route: a task-specific layer becomes a block used by one task only.

Source: Rosenbaum et al. 2018, section 4 ("task specific-all-fc", "task specific-1-fc").
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments, Parts
from mtl_agents.environments import StandIn, interface
from mtl_agents.files import Tables
from mtl_agents.random import Random, RandomFixed
from mtl_agents.routing.router import Index, Masks, RoutingAgent
from mtl_gym.core.interfaces import LAYERS
from mtl_gym.integrations.sb3 import EnvLike

__all__ = [
    "FixedRouting",
    "Random",
    "RandomFixed",
    "Separate",
    "Shared",
    "SoftMixture",
    "TaskSpecificAll",
    "TaskSpecificLast",
]


class FixedRouting(RoutingAgent):
    """Router with one fixed route per task.

    Attributes:
        routes: Block of each task and depth; int64 [tasks, depth].

    Example:
        >>> agent = TaskSpecificLast("MTLRouting-Digits-v0", seed=0).learn(30)
        >>> agent.routes[7]
        array([0, 0, 7])
    """

    ROLE: ClassVar[str] = "control"
    STACKS: ClassVar[bool] = True

    def __init__(self, env: EnvLike, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        layers = self._layers()
        positions = self._draw(np.array([len(blocks) for blocks in layers]))
        self.routes: Index = np.stack([blocks[positions[:, depth]] for depth, blocks in enumerate(layers)], axis=1)

    def _tables(self) -> Tables:
        return {"routes": self.routes}

    def _layers(self) -> list[Index]:
        """Return the existing blocks of each depth, without PASS; all blocks for a stand-in."""
        if isinstance(self.env, StandIn):
            return [np.arange(self.num_actions - 1)] * self.depth
        return [np.flatnonzero(mask[:-1]) for mask in interface(self.env, LAYERS, type(self).__name__).masks]

    @abstractmethod
    def _draw(self, sizes: Index) -> Index:
        """Return block indices of all tasks, given the number of blocks; int64 [depth] -> [tasks, depth]."""

    def predict(
        self,
        observation: Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Index, object]:
        """Return the next block of each row's route, and `state`."""
        return self.routes[observation["task"], observation["depth"]], state


class TaskSpecificAll(FixedRouting):
    """Control with task-specific blocks at every depth ("task specific-all-fc"), while blocks suffice."""

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes)


class Separate(TaskSpecificAll):
    """Control with a separate network per task: task-specific blocks at every depth, as many as tasks.

    It asks for `blocks="per-task"`, and thus may have more blocks than other agents.

    Raises:
        ValueError: If there are fewer blocks than tasks.
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"blocks": "per-task"}

    def _check_env(self, env: VecEnv) -> None:
        """Accept every environment; `_draw` counts its blocks."""

    def _draw(self, sizes: Index) -> Index:
        if sizes.min() < self.num_tasks:
            raise ValueError(
                f"Separate needs a block per task; this environment has {sizes.min()} blocks for {self.num_tasks} "
                "tasks: make it with gym.make(id, blocks='per-task')."
            )
        return super()._draw(sizes)


class TaskSpecificLast(FixedRouting):
    """Control with shared blocks, except task-specific ones in the last layer ("task specific-1-fc")."""

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes) * (np.arange(self.depth) == self.depth - 1)


class SoftMixture(FixedRouting):
    """Differentiable baseline: a trained softmax average over all blocks per task and depth.

    The weights of the averages belong to the environment's network (`mixture=True`) and are trained with its blocks;
    the agent assigns one average to each task.

    Source: Rosenbaum et al. 2018, section 4 ("soft-mixture-fc").
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"mixture": True}

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes)


class Shared(FixedRouting):
    """Control in which all tasks share one block at every depth."""

    def _draw(self, sizes: Index) -> Index:
        return np.zeros((self.num_tasks, self.depth), np.int64)


def own_blocks(tasks: int, sizes: Index) -> Index:
    """Return distinct blocks for tasks at each depth, reused in order if too few; int64 [tasks, depth]."""
    return np.arange(tasks)[:, None] % sizes
