"""The weighted policy learner: one small policy per task and depth, which slows down as it nears a pure strategy."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_agents.tabular import TabularRouter

Weighting: TypeAlias = Literal["abdallah", "rosenbaum"]
Index: TypeAlias = NDArray[np.int64]


class WPL(TabularRouter):
    """A router with one tabular agent per task, trained by the weighted policy learner.

    The agent of a task keeps, for each depth, a probability per block and a running estimate of the return. A return
    above the estimate raises the probability of what was done, one below lowers it, by a step that is weighted.

    Source: Rosenbaum et al. 2018, algorithms 3 (WPL-Update) and 4 (WPL-Trainer); Abdallah and Lesser 2006.

    Deviation: the printed algorithm 3 has lost a hat; the difference taken is return minus estimate. Episodes that end
    in the same step are one batch: their steps are added up, from the policy before, and projected once. Masked choices
    keep probability 0, and the others at least `min_probability`.

    Args:
        env: As for `Agent`.
        policy_learning_rate: lambda_pi.
        return_learning_rate: lambda_r.
        weighting: "abdallah" is the original: gains times (1 - pi), losses times pi, so that a policy slows down on its
            way to the edge of the simplex. "rosenbaum" is the routing paper's text, which has them the other way round.
        min_probability: What a valid choice keeps at least, before the row is normalised.
        gamma: Discount of the return.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If an argument has a value that is not allowed.

    Example:
        >>> agent = WPL("MTLRouting-Digits-v0", seed=0).learn(60)
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
        weighting: Weighting = "rosenbaum",
        min_probability: float = 1e-3,
        gamma: float = 1.0,
        **arguments: Any,
    ) -> None:
        super().__init__(env, gamma=gamma, **arguments)
        if weighting not in ("abdallah", "rosenbaum"):
            raise ValueError(f'weighting={weighting!r} is unknown; use "abdallah" or "rosenbaum".')
        if not 0 <= min_probability < 1 / self.num_actions:
            raise ValueError(f"min_probability={min_probability} must be in [0, 1/{self.num_actions}).")
        self.policy_learning_rate, self.return_learning_rate = policy_learning_rate, return_learning_rate
        self.weighting, self.min_probability = weighting, min_probability
        self.policy = np.full((self.num_tasks, self.depth, self.num_actions), 1 / self.num_actions)
        self.estimate = np.zeros((self.num_tasks, self.depth))

    def _hyperparameters(self) -> dict[str, Any]:
        names = ("policy_learning_rate", "return_learning_rate", "weighting", "min_probability", "gamma")
        return {name: getattr(self, name) for name in names}

    def _probabilities(self, task: Index, depth: Index) -> NDArray[np.float64]:
        return self.policy[task, depth]

    def _update(self, task: Index, depth: Index, choice: Index, returns: NDArray[np.float64]) -> None:
        """WPL-Trainer for a batch of decisions; each [decisions]."""
        self._average(task, depth, returns)
        delta = returns - self.estimate[task, depth]
        step = self.policy_learning_rate * delta * self._weight(delta, self.policy[task, depth, choice])
        np.add.at(self.policy, (task, depth, choice), step)
        self._project()

    def _average(self, task: Index, depth: Index, returns: NDArray[np.float64]) -> None:
        """Algorithm 4, line 1; several returns in one batch count as that many steps towards their mean."""
        sums, counts = np.zeros_like(self.estimate), np.zeros_like(self.estimate)
        np.add.at(sums, (task, depth), returns)
        np.add.at(counts, (task, depth), 1)
        keep = (1 - self.return_learning_rate) ** counts
        self.estimate = keep * self.estimate + (1 - keep) * sums / np.maximum(counts, 1)

    def _weight(self, delta: NDArray[np.float64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Algorithm 3, lines 3 to 6."""
        slow_gains = (delta > 0) == (self.weighting == "abdallah")
        return np.where(slow_gains, 1 - probability, probability)

    def _project(self) -> None:
        """Algorithm 3, line 7: clip and normalise."""
        clipped = self.policy.clip(self.min_probability, 1) * self.valid
        self.policy = clipped / clipped.sum(-1, keepdims=True)
