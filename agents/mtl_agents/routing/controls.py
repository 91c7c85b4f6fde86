"""Routes that do not learn: the static baselines as policies in the same environment, and the random controls.

A baseline network is a fixed route: what a task-specific layer is elsewhere, is here a block that one task alone takes.

Source: Rosenbaum et al. 2018, section 4 ("task specific-all-fc", "task specific-1-fc").
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_agents.routing.router import Masks, RoutingAgent


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
    _STATE: ClassVar[tuple[str, ...]] = ("routes",)

    def __init__(self, env: Any, **arguments: Any) -> None:
        super().__init__(env, **arguments)
        self.routes = self._routes()

    def _routes(self) -> NDArray[np.int64]:
        if self._random_routes() is not None:
            raise ValueError(
                f"{type(self).__name__} takes blocks by their place in a layer; this environment has a pool of modules "
                "and no layers. random-fixed and random work on both."
            )
        layers = self._layers()
        positions = self._draw(np.array([len(blocks) for blocks in layers]))
        return np.stack([blocks[positions[:, depth]] for depth, blocks in enumerate(layers)], axis=1)

    def _random_routes(self) -> Any:
        """The environment's own way to draw valid routes, where what is valid depends on what came before."""
        try:
            return self.env.get_attr("random_routes")[0]
        except AttributeError:
            return None

    @abstractmethod
    def _draw(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The block of each task among the `sizes` of each depth; int64 [depth] -> [tasks, depth]."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[NDArray[np.int64], Any]:
        """The next block of each row's route."""
        return self.routes[observation["task"], observation["depth"]], state


class TaskSpecificAll(FixedRouting):
    """Every task has all routed layers for itself ("task specific-all-fc"), as far as there are blocks enough."""

    def _draw(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.arange(self.num_tasks)[:, None] % sizes


class TaskSpecificLast(TaskSpecificAll):
    """All tasks share the routed layers but the last, which each has for itself ("task specific-1-fc")."""

    def _draw(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        return super()._draw(sizes) * (np.arange(self.depth) == self.depth - 1)


class SoftMixture(TaskSpecificAll):
    """The differentiable baseline: each task has, at every depth, a trained softmax average over all blocks.

    The weights of the averages belong to the environment's network (`mixture=True`) and are trained with its blocks;
    the agent gives every task its own.

    Source: Rosenbaum et al. 2018, section 4 ("soft-mixture-fc").
    """

    ENV_KWARGS: ClassVar[dict[str, Any]] = {"mixture": True}


class Shared(FixedRouting):
    """All tasks share one block at every depth."""

    def _draw(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.zeros((self.num_tasks, self.depth), np.int64)


class RandomFixed(FixedRouting):
    """One random route per task, drawn once from the seed and kept: the control for every learned router.

    In layers that is a random block per depth, never PASS; from a pool, a random valid network.
    """

    def _routes(self) -> NDArray[np.int64]:
        draw = self._random_routes()
        return super()._routes() if draw is None else draw(self.num_tasks, self.np_random)

    def _draw(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.np_random.integers(sizes, size=(self.num_tasks, self.depth))


class Random(RoutingAgent):
    """A new random valid choice at every decision."""

    ROLE: ClassVar[str] = "control"

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[NDArray[np.int64], Any]:
        """A block, or PASS where it is valid; without masks never PASS, which may not be valid."""
        shape = np.shape(observation["task"])
        if action_masks is None:
            return self.np_random.integers(self.num_actions - 1, size=shape), state
        return np.where(action_masks, self.np_random.random(action_masks.shape), -1.0).argmax(-1), state
