"""The core of routers that keep tables: they see task and depth only, and learn when routes end."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_agents.base import Agent, Masks

Index: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Decisions:
    """The decisions of all routes that ended in one step, one entry each.

    Attributes:
        task: int64 [decisions].
        depth: int64 [decisions].
        choice: What was chosen; int64 [decisions].
        reward: What it earned at once; float64 [decisions].
        returns: The discounted sum of rewards from it on (algorithm 2, line 6); float64 [decisions].
        last: Whether the route ended with it; bool [decisions].
        earlier: The choices made before it, -1 where none was yet; int64 [decisions, depth].
    """

    task: Index
    depth: Index
    choice: Index
    reward: NDArray[np.float64]
    returns: NDArray[np.float64]
    last: NDArray[np.bool_]
    earlier: Index


class TabularRouter(Agent):
    """Collects the decisions of each row until its route ends, then learns from all finished routes at once.

    A subclass gives `_probabilities` and `_update`.

    Args:
        env: As for `Agent`.
        gamma: Discount of the return of a decision.
        **arguments: Of `Agent`.

    Attributes:
        valid: Choices that no mask has ruled out so far; bool [depth, actions].
    """

    _STATE: ClassVar[tuple[str, ...]] = ("valid", "_choices", "_rewards", "_length")
    _PER_ROW: ClassVar[tuple[str, ...]] = ("_choices", "_rewards", "_length")

    def __init__(self, env: Any, *, gamma: float = 1.0, **arguments: Any) -> None:
        super().__init__(env, **arguments)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma={gamma} is not possible; a discount lies in [0, 1].")
        self.gamma = gamma
        self.valid = np.ones((self.depth, self.num_actions), bool)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """As `Agent.set_env`; routes under way are forgotten."""
        super().set_env(env, force_reset)
        self._forget_routes()

    def _forget_routes(self) -> None:
        self._choices = np.zeros((self.n_envs, self.depth), np.int64)
        self._rewards = np.zeros((self.n_envs, self.depth))
        self._length = np.zeros(self.n_envs, np.int64)

    @abstractmethod
    def _probabilities(self, task: Index, depth: Index) -> NDArray[np.float64]:
        """Probabilities of all choices, need not add up to 1 over the valid ones; float64 [rows, actions]."""

    @abstractmethod
    def _update(self, decisions: Decisions) -> None:
        """Learn from decisions and what came of them."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[NDArray[np.int64], Any]:
        """Sample each row's choice from the policy of its task and depth, or take the likeliest."""
        task, depth = np.atleast_1d(observation["task"]), np.atleast_1d(observation["depth"])
        if action_masks is not None:
            self._learn_masks(depth, np.atleast_2d(action_masks))
        weights = self._probabilities(task, depth) * self.valid[depth]
        choice = weights.argmax(-1) if deterministic else self._sample(weights)
        return choice.reshape(np.shape(observation["task"])), state

    def _learn_masks(self, depth: Index, masks: Masks) -> None:
        np.logical_and.at(self.valid, depth, masks)

    def _sample(self, weights: NDArray[np.float64]) -> Index:
        """Invert the cumulative distribution of each row; float64 [rows, actions] -> int64 [rows]."""
        cumulative = weights.cumsum(-1)
        threshold = self.np_random.random(len(weights)) * cumulative[:, -1]
        return (cumulative <= threshold[:, None]).sum(-1)

    def _record(self, obs: Any, actions: Any, rewards: Any, dones: Any) -> None:
        rows = np.arange(self.n_envs)
        if (obs["depth"] != self._length).any():
            self._forget_routes()
        self._choices[rows, self._length], self._rewards[rows, self._length] = actions, rewards
        self._length += 1
        if dones.any():
            ended = np.flatnonzero(dones)
            self._learn_from(obs["task"][ended], ended)
            self._length[ended] = 0

    def _learn_from(self, task: Index, rows: Index) -> None:
        steps = np.arange(self.depth)
        made = steps < self._length[rows, None]
        row, depth = np.nonzero(made)
        choices = self._choices[rows]
        self._update(
            Decisions(
                task=task[row],
                depth=depth,
                choice=choices[row, depth],
                reward=self._rewards[rows][row, depth],
                returns=self._returns(rows)[row, depth],
                last=depth == self._length[rows][row] - 1,
                earlier=np.where(steps < depth[:, None], choices[row], -1),
            )
        )

    def _returns(self, rows: Index) -> NDArray[np.float64]:
        """Discounted sum of the rewards from each decision on; float64 [rows, depth]. Source: algorithm 2, line 6."""
        rewards = np.where(np.arange(self.depth) < self._length[rows, None], self._rewards[rows], 0)
        returns = np.zeros_like(rewards)
        running = np.zeros(len(rows))
        for depth in reversed(range(self.depth)):
            running = rewards[:, depth] + self.gamma * running
            returns[:, depth] = running
        return returns
