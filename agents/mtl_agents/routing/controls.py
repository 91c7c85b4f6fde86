"""Routes that do not learn: the static baselines as policies in the same environment.

A baseline network is a fixed route: what is a task-specific layer elsewhere is a block that one task alone takes here.

Source: Rosenbaum et al. 2018, section 4 ("task specific-all-fc", "task specific-1-fc").
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments, Parts
from mtl_agents.environments import StandIn, interface
from mtl_agents.files import Tables
from mtl_agents.random import Random, RandomFixed
from mtl_agents.routing.router import Index, Masks, RoutingAgent
from mtl_gym.core.interfaces import LAYERS
from mtl_gym.integrations.sb3 import EnvLike

__all__ = ["FixedRouting", "Random", "RandomFixed", "Shared", "SoftMixture", "TaskSpecificAll", "TaskSpecificLast"]


class FixedRouting(RoutingAgent):
    """One route per task, given once.

    Attributes:
        routes: Block that a task takes at a depth; int64 [tasks, depth].

    Example:
        >>> agent = TaskSpecificLast("MTLRouting-Digits-v0", seed=0).learn(30)
        >>> agent.routes[7]
        array([0, 0, 7])
    """

    ROLE: ClassVar[str] = "control"

    def __init__(self, env: EnvLike, **arguments: Unpack[AgentArguments]) -> None:
        super().__init__(env, **arguments)
        layers = self._layers()
        positions = self._draw(np.array([len(blocks) for blocks in layers]))
        self.routes: Index = np.stack([blocks[positions[:, depth]] for depth, blocks in enumerate(layers)], axis=1)

    def _tables(self) -> Tables:
        return {"routes": self.routes}

    def _layers(self) -> list[Index]:
        """Return the blocks that exist at each depth, without PASS; all of them in a stand-in."""
        if isinstance(self.env, StandIn):
            return [np.arange(self.num_actions - 1)] * self.depth
        return [np.flatnonzero(mask[:-1]) for mask in interface(self.env, LAYERS, type(self).__name__).masks]

    @abstractmethod
    def _draw(self, sizes: Index) -> Index:
        """Return the block of each task among the `sizes` of each depth; int64 [depth] -> [tasks, depth]."""

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
    """Every task has all routed layers for itself ("task specific-all-fc"), as far as there are blocks enough."""

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes)


class TaskSpecificLast(FixedRouting):
    """All tasks share the routed layers but the last, which each has for itself ("task specific-1-fc")."""

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes) * (np.arange(self.depth) == self.depth - 1)


class SoftMixture(FixedRouting):
    """The differentiable baseline: each task has, at every depth, a trained softmax average over all blocks.

    The weights of the averages belong to the environment's network (`mixture=True`) and are trained with its blocks;
    the agent gives every task its own.

    Source: Rosenbaum et al. 2018, section 4 ("soft-mixture-fc").
    """

    ENV_KWARGS: ClassVar[Mapping[str, Any]] = {"mixture": True}

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes)


class Shared(FixedRouting):
    """All tasks share one block at every depth."""

    def _draw(self, sizes: Index) -> Index:
        return np.zeros((self.num_tasks, self.depth), np.int64)


def own_blocks(tasks: int, sizes: Index) -> Index:
    """Return a block of its own for each task at each depth, as far as there are enough; int64 [tasks, depth]."""
    return np.arange(tasks)[:, None] % sizes
