"""Counterfactual credit: the return of another block for the same input and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from mtl_agents.base import Parts
from mtl_agents.environments import behind
from mtl_agents.files import Tables
from mtl_agents.routing.decisions import Floats
from mtl_agents.routing.router import Index
from mtl_agents.routing.tables import Averaging, PolicyArguments, TabularPolicyGradient, Weighting
from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.ranges import COUNTS, Range
from mtl_gym.core.rows import Array
from mtl_gym.integrations.sb3 import EnvLike


class Counterfactual(TabularPolicyGradient):
    """Weighted policy learner that also evaluates alternative blocks on a fork of the environment.

    For every `every`-th batch of routes, all inputs take another block at one depth, in a copy of the environment with
    the same weights. The difference of the two returns changes the probability of that block. Unlike the difference
    from a running estimate, it does not depend on the difficulty of the input.

    Source: our own; the difference is the counterfactual baseline of multi-agent learning (Foerster et al. 2018).

    Args:
        env: As for `Agent`.
        every: Number of batches of routes per counterfactual batch.
        weighting: As for `WPL`.
        average: As for `WPL`.
        **arguments: Keyword arguments of `TabularPolicyGradient` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> agent = Counterfactual(make_vec_env("MTLRouting-Digits-v0", 16), every=1, seed=0).learn(480)
        >>> agent.tried
        array(160)
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"every": COUNTS}

    def __init__(
        self,
        env: EnvLike,
        *,
        every: int = 4,
        weighting: Weighting = "rosenbaum",
        average: Averaging = "decision",
        **arguments: Unpack[PolicyArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self._weigh_steps(weighting, average)
        self.every = every
        self.tried, self._batches = np.array(0), np.array(0)
        self._twin: MultiTaskVectorEnv | None = None

    def _tables(self) -> Tables:
        return super()._tables() | {"tried": self.tried, "batches": self._batches}

    def _hyperparameters(self) -> dict[str, object]:
        return super()._hyperparameters() | {"every": self.every}

    def _act(self, obs: Parts) -> Index:
        choice = super()._act(obs)
        if (obs["depth"] == 0).all():
            self._batches += 1
            self._twin, self._at = None, int(self.np_random.integers(self.depth))
        if self._batches % self.every == 0 and (obs["depth"] == self._at).all():
            self._fork(obs, choice)
        elif self._twin is not None:
            self._follow(self._twin, choice)
        return choice

    def _fork(self, obs: Parts, choice: Index) -> None:
        others = self.valid[obs["depth"]].copy()
        others[np.arange(len(choice)), choice] = False
        if others.any(1).all():
            self._twin = self._forked()
            self._other, self._earned = self._sample(others.astype(float)), np.zeros(len(choice))
            self._follow(self._twin, self._other)

    def _forked(self) -> MultiTaskVectorEnv:
        base = behind(self.env)
        twin = None if base is None else base.fork()
        if not isinstance(twin, MultiTaskVectorEnv):
            raise ValueError(
                f"Counterfactual needs an environment with fork(); {self.env} has none. Use one of mtl_gym."
            )
        return twin

    def _follow(self, twin: MultiTaskVectorEnv, choice: Index) -> None:
        self._earned += twin.advance(choice)[1].reward

    def _record(self, obs: Parts, actions: Array, rewards: Array, dones: NDArray[np.bool_]) -> None:
        routes = self._rewards  # `super` keeps the rewards of a route until the next route overwrites them
        super()._record(obs, actions, rewards, dones)
        if self._twin is not None and dones.all():
            self._compare(obs["task"], self._earned - routes[:, self._at :].sum(1))
            self._twin = None

    def _compare(self, task: Index, gain: Floats) -> None:
        tried = task, np.full_like(task, self._at), self._other
        np.add.at(self.policy, tried, self.policy_learning_rate * gain)
        self._project()
        self.tried += len(task)
