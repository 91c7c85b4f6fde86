"""Vanilla policy gradient on a table of probabilities: what the weighted policy learner is compared with."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_agents.tabular import Decisions, Index, TabularRouter


class TabularPolicyGradient(TabularRouter):
    """A router with one tabular agent per task, trained by plain policy gradient.

    The agent of a task keeps, for each depth, a probability per choice and a running estimate of the return. A return
    above the estimate raises the probability of what was done by the same step by which one below it lowers it.

    Source: Rosenbaum et al. 2018, section 3.1.1 ("vanilla PG with the tabular representation"), with algorithm 4's
    estimate as baseline and algorithm 3's projection.

    Deviation: episodes that end in the same step are one batch: their steps are added up, from the policy before, and
    projected once. Masked choices keep probability 0, and the others at least `min_probability`.

    Args:
        env: As for `Agent`.
        policy_learning_rate: lambda_pi.
        return_learning_rate: lambda_r.
        min_probability: What a valid choice keeps at least, before the row is normalised.
        gamma: Discount of the return.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If an argument has a value that is not allowed.

    Example:
        >>> agent = TabularPolicyGradient("MTLRouting-Digits-v0", seed=0).learn(60)
        >>> agent.policy.shape, bool(np.allclose(agent.policy.sum(-1), 1))
        ((10, 3, 11), True)
    """

    _STATE: ClassVar[tuple[str, ...]] = (*TabularRouter._STATE, "policy", "estimate")

    def __init__(
        self,
        env: Any,
        *,
        policy_learning_rate: float = 0.03,
        return_learning_rate: float = 0.1,
        min_probability: float = 1e-3,
        gamma: float = 1.0,
        **arguments: Any,
    ) -> None:
        super().__init__(env, gamma=gamma, **arguments)
        if not 0 <= min_probability < 1 / self.num_actions:
            raise ValueError(f"min_probability={min_probability} must be in [0, 1/{self.num_actions}).")
        self.policy_learning_rate, self.return_learning_rate = policy_learning_rate, return_learning_rate
        self.min_probability = min_probability
        self.policy = np.full((self.num_tasks, self.depth, self.num_actions), 1 / self.num_actions)
        self.estimate = np.zeros((self.num_tasks, self.depth))

    def _hyperparameters(self) -> dict[str, Any]:
        names = ("policy_learning_rate", "return_learning_rate", "min_probability", "gamma")
        return {name: getattr(self, name) for name in names}

    def _probabilities(self, task: Index, depth: Index) -> NDArray[np.float64]:
        return self.policy[task, depth]

    def _update(self, decisions: Decisions) -> None:
        """Algorithm 4 (WPL-Trainer) for a batch of decisions."""
        row = decisions.task, decisions.depth
        self.estimate = running_mean(self.estimate, row, decisions.returns, self.return_learning_rate)
        delta = decisions.returns - self.estimate[row]
        chosen = (*row, decisions.choice)
        step = self.policy_learning_rate * delta * self._weight(delta, self.policy[chosen])
        np.add.at(self.policy, chosen, step)
        self._project()

    def _weight(self, delta: NDArray[np.float64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones_like(delta)

    def _project(self) -> None:
        """Algorithm 3, line 7: clip and normalise."""
        clipped = self.policy.clip(self.min_probability, 1) * self.valid
        self.policy = clipped / clipped.sum(-1, keepdims=True)


def running_mean(
    table: NDArray[np.float64], index: tuple[Index, ...], values: NDArray[np.float64], rate: float
) -> NDArray[np.float64]:
    """Move the entries at `index` towards `values` by `rate`; several values for one entry count as as many steps
    towards their mean, whatever their order.

    Source: Rosenbaum et al. 2018, algorithm 4, line 1.
    """
    sums, counts = np.zeros_like(table), np.zeros_like(table)
    np.add.at(sums, index, values)
    np.add.at(counts, index, 1)
    keep = (1 - rate) ** counts
    return keep * table + (1 - keep) * sums / np.maximum(counts, 1)
