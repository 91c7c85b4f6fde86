"""Tabular routers, which observe task and depth or the history of choices, but not the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from typing_extensions import Unpack

from mtl_agents.files import Tables
from mtl_agents.routing.decisions import Decisions, Floats, Situations
from mtl_agents.routing.exploration import epsilon_greedy, falling_epsilon
from mtl_agents.routing.router import Index
from mtl_agents.routing.routes import LearningRouter, RouterArguments
from mtl_gym.core.ranges import NOT_NEGATIVE, PART, SHARES, Range
from mtl_gym.integrations.sb3 import EnvLike

Weighting: TypeAlias = Literal["abdallah", "rosenbaum"]
Averaging: TypeAlias = Literal["decision", "action"]


@dataclass(frozen=True)
class WeightedSteps:
    """Steps of the weighted policy learner; see `WPL` for the values.

    Raises:
        ValueError: If a value is unknown.
    """

    weighting: Weighting
    average: Averaging

    def __post_init__(self) -> None:
        """Raise ValueError for unknown values."""
        if self.weighting not in ("abdallah", "rosenbaum"):
            raise ValueError(f'weighting={self.weighting!r} is unknown; use "abdallah" or "rosenbaum".')
        if self.average not in ("decision", "action"):
            raise ValueError(f'average={self.average!r} is unknown; use "decision" or "action".')

    def weight(self, delta: Floats, probability: Floats) -> Floats:
        """Return the weights of steps; float64 [n] each. Source: algorithm 3, lines 3 to 6."""
        slow_gains = (delta > 0) == (self.weighting == "abdallah")
        return np.where(slow_gains, 1 - probability, probability)


class PolicyArguments(RouterArguments, total=False):
    """Keyword arguments of every agent with tabular policies; see `TabularPolicyGradient`."""

    policy_learning_rate: float
    return_learning_rate: float
    min_probability: float


class TabularPolicyGradient(LearningRouter):
    """Router with one tabular agent per task, trained by plain policy gradient.

    The agent of a task has, for each depth, a probability per choice and a running estimate of the return. The
    probability of a choice changes in proportion to the difference of return and estimate.

    Source: Rosenbaum et al. 2018, section 3.1.1 ("vanilla PG with the tabular representation"), with algorithm 4's
    estimate as baseline and algorithm 3's projection.

    Deviation: episodes that end in the same step form one batch: their policy steps are summed and projected once.
    Masked choices have probability 0, all others at least `min_probability`.

    Args:
        env: As for `Agent`.
        policy_learning_rate: lambda_pi.
        return_learning_rate: lambda_r.
        min_probability: Minimum probability of a valid choice, before normalisation.
        **arguments: Keyword arguments of `LearningRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = TabularPolicyGradient("MTLRouting-Digits-v0", seed=0).learn(60)
        >>> agent.policy.shape, bool(np.allclose(agent.policy.sum(-1), 1))
        ((10, 3, 11), True)
    """

    STACKS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {
        "policy_learning_rate": NOT_NEGATIVE,
        **dict.fromkeys(("return_learning_rate", "min_probability"), SHARES),
    }

    def __init__(
        self,
        env: EnvLike,
        *,
        policy_learning_rate: float = 0.03,
        return_learning_rate: float = 0.1,
        min_probability: float = 1e-3,
        **arguments: Unpack[RouterArguments],
    ) -> None:
        super().__init__(env, **arguments)
        if min_probability >= 1 / self.num_actions:
            raise ValueError(f"min_probability={min_probability} must be in [0, 1/{self.num_actions}).")
        self.policy_learning_rate, self.return_learning_rate = policy_learning_rate, return_learning_rate
        self.min_probability = min_probability
        self.policy = np.full((self.num_agents, self.depth, self.num_actions), 1 / self.num_actions)
        self.estimate = np.zeros((self.num_agents, self.depth))
        self.steps: WeightedSteps | None = None

    def _weigh_steps(self, weighting: Weighting, average: Averaging) -> None:
        """Switch to the steps of the weighted policy learner."""
        self.steps = WeightedSteps(weighting, average)
        if average == "action":
            self.estimate = np.zeros_like(self.policy)

    def _tables(self) -> Tables:
        return super()._tables() | {"policy": self.policy, "estimate": self.estimate}

    def _hyperparameters(self) -> dict[str, object]:
        rates = {"policy_learning_rate": self.policy_learning_rate, "return_learning_rate": self.return_learning_rate}
        own = rates | {"min_probability": self.min_probability}
        return super()._hyperparameters() | own | ({} if self.steps is None else vars(self.steps))

    @property
    def diagnostics(self) -> dict[str, float]:
        """Concentration of the policy over valid choices, averaged over tasks and depths.

        `policy_max` is the largest probability, `policy_entropy` the entropy in nats.
        """
        return self._decidedness(slice(None))

    def _decidedness(self, depths: slice) -> dict[str, float]:
        valid = (self.policy * self.valid)[:, depths]
        policy = valid / valid.sum(-1, keepdims=True)
        entropy = -(policy * np.log(policy, where=policy > 0, out=np.zeros_like(policy))).sum(-1)
        return {"policy_max": float(policy.max(-1).mean()), "policy_entropy": float(entropy.mean())}

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        return self.policy[at.task, at.depth]

    def _update(self, decisions: Decisions) -> None:
        """Update estimates and policy from a batch of decisions. Source: algorithm 4 (WPL-Trainer)."""
        chosen = decisions.task, decisions.depth, decisions.choice
        entry = chosen[: self.estimate.ndim]
        move_towards(self.estimate, entry, decisions.returns, self.return_learning_rate)
        delta = decisions.returns - self.estimate[entry]
        weight = np.ones_like(delta) if self.steps is None else self.steps.weight(delta, self.policy[chosen])
        step = self.policy_learning_rate * delta * weight
        np.add.at(self.policy, chosen, step)
        self._project()

    def _project(self) -> None:
        """Clip and normalise the policy. Source: algorithm 3, line 7."""
        clipped = self.policy.clip(self.min_probability, 1) * self.valid
        self.policy = clipped / clipped.sum(-1, keepdims=True)


class QArguments(RouterArguments, total=False):
    """Keyword arguments of `TabularQ`."""

    learning_rate: float
    final_epsilon: float
    exploration_fraction: float


class TabularQ(LearningRouter):
    """Router with one tabular agent per task, trained by Q-learning.

    The table of a task holds the expected return of each choice, with one entry per depth or, with `history=True`, per
    sequence of earlier choices ("combinatorial").

    Source: Rosenbaum et al. 2018, section 3.1.1; Watkins and Dayan 1992.

    A table per depth bootstraps from the best choice at the next depth, regardless of earlier choices, so it learns the
    last choice only. This is regular Q-learning, as in the paper, on states that are not Markov; histories are Markov.

    Deviation: the paper defines no exploration; ours is epsilon-greedy, with epsilon falling linearly from 1. Episodes
    that end in the same step form one batch, with targets from the table before the update.

    Args:
        env: As for `Agent`.
        learning_rate: Step size towards the target.
        history: True for one table entry per sequence of earlier choices.
        final_epsilon: Share of random choices after the exploration phase.
        exploration_fraction: Share of the training in which epsilon falls from 1 to `final_epsilon`.
        **arguments: Keyword arguments of `LearningRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid, or the tables need over 10 million rows.

    Example:
        >>> agent = TabularQ("MTLRouting-Digits-v0", history=True, seed=0).learn(60)
        >>> agent.values.shape  # 1 + 11 + 11 ** 2 histories
        (10, 133, 11)
    """

    STACKS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("learning_rate", "exploration_fraction"), PART),
        "final_epsilon": SHARES,
    }

    def __init__(
        self,
        env: EnvLike,
        *,
        learning_rate: float = 0.1,
        history: bool = False,
        final_epsilon: float = 0.05,
        exploration_fraction: float = 0.2,
        **arguments: Unpack[RouterArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self.learning_rate, self.history = learning_rate, history
        self.final_epsilon, self.exploration_fraction = final_epsilon, exploration_fraction
        self.epsilon = np.array(1.0)
        self.values = np.zeros((self.num_tasks, self._num_rows(), self.num_actions))

    def _tables(self) -> Tables:
        return super()._tables() | {"values": self.values, "epsilon": self.epsilon}

    def _num_rows(self) -> int:
        rows = sum(self.num_actions**depth for depth in range(self.depth)) if self.history else self.depth
        if rows * self.num_tasks > 10_000_000:
            raise ValueError(
                f"history=True needs {rows:,} rows per task, too many for a table; use fewer blocks or a lower depth."
            )
        return rows

    def _hyperparameters(self) -> dict[str, object]:
        own = {"learning_rate": self.learning_rate, "history": self.history}
        exploration = {"final_epsilon": self.final_epsilon, "exploration_fraction": self.exploration_fraction}
        return super()._hyperparameters() | own | exploration

    @property
    def _looks_back(self) -> bool:
        return self.history

    def _row(self, depth: Index, earlier: Index) -> Index:
        """Return the table row of each decision: its depth, or the number of its sequence of earlier choices."""
        if not self.history:
            return depth
        row = np.zeros_like(depth)
        for step in range(self.depth):
            row = np.where(step < depth, row * self.num_actions + earlier[:, step] + 1, row)
        return row

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        """Return epsilon-greedy probabilities, with ties broken evenly; float64 [n, actions]."""
        valid = self.valid[at.depth]
        values = np.where(valid, self.values[at.task, self._row(at.depth, at.earlier)], -np.inf)
        return epsilon_greedy(values, valid, self.epsilon if explore else 0)

    def _update(self, decisions: Decisions) -> None:
        """Move Q(s, a) towards r + gamma max Q(s', .)."""
        row = self._row(decisions.depth, decisions.earlier)
        target = decisions.reward + self.gamma * np.where(decisions.last, 0, self._best_after(decisions))
        move_towards(self.values, (decisions.task, row, decisions.choice), target, self.learning_rate)
        self.epsilon = falling_epsilon(self, self.final_epsilon, self.exploration_fraction)

    def _best_after(self, decisions: Decisions) -> Floats:
        depth = np.minimum(decisions.depth + 1, self.depth - 1)
        earlier = decisions.earlier.copy()
        earlier[np.arange(len(depth)), decisions.depth] = decisions.choice
        values = self.values[decisions.task, self._row(depth, earlier)]
        return np.where(self.valid[depth], values, -np.inf).max(-1)


class TabularQHistory(TabularQ):
    """Tabular Q-learning on sequences of earlier choices ("combinatorial"): `TabularQ(history=True)`."""

    def __init__(self, env: EnvLike, *, history: bool = True, **arguments: Unpack[QArguments]) -> None:
        super().__init__(env, history=history, **arguments)


def move_towards(table: Floats, index: tuple[Index, ...], values: Floats, rate: float) -> None:
    """Move entries of `table` towards `values` by `rate`, in place.

    n values for one entry count as n steps towards their mean, which makes the result independent of their order.

    Args:
        table: float64, of any shape.
        index: Entry of each value; one int64 [values] per axis of the table.
        values: float64 [values].
        rate: Fraction of the distance covered per value.

    Example:
        >>> table = np.zeros(3)
        >>> move_towards(table, (np.array([0, 0, 2]),), np.array([1.0, 1.0, -1.0]), 0.5)
        >>> table
        array([ 0.75,  0.  , -0.5 ])
    """
    place, entry, counts = np.unique(np.ravel_multi_index(index, table.shape), return_inverse=True, return_counts=True)
    keep = (1 - rate) ** counts
    flat = table.reshape(-1)
    flat[place] = keep * flat[place] + (1 - keep) * np.bincount(entry, values) / counts
