"""Q-learning on a table, per depth or per history of choices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_agents.policy_gradient import running_mean
from mtl_agents.tabular import Decisions, Index, TabularRouter


class TabularQ(TabularRouter):
    """A router with one tabular agent per task, trained by Q-learning.

    The agent of a task keeps the expected return of each choice, in one row per depth or, with `history=True`, in one
    row per sequence of earlier choices ("combinatorial").

    Source: Rosenbaum et al. 2018, section 3.1.1; Watkins and Dayan 1992.

    Deviation: the paper names no exploration; it is epsilon-greedy here, with epsilon falling linearly from 1. Episodes
    that end in the same step are one batch, whose targets are taken from the table before.

    Args:
        env: As for `Agent`.
        learning_rate: Step towards the target.
        history: One row per sequence of earlier choices.
        final_epsilon: Share of random choices once exploration has ended.
        exploration_fraction: Share of the training over which epsilon falls to that.
        gamma: Discount.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If an argument has a value that is not allowed, or `history=True` needs over 10 million rows.

    Example:
        >>> agent = TabularQ("MTLRouting-Digits-v0", history=True, seed=0).learn(60)
        >>> agent.values.shape  # 1 + 11 + 11 ** 2 histories
        (10, 133, 11)
    """

    _STATE: ClassVar[tuple[str, ...]] = (*TabularRouter._STATE, "values", "epsilon")

    def __init__(
        self,
        env: Any,
        *,
        learning_rate: float = 0.1,
        history: bool = False,
        final_epsilon: float = 0.05,
        exploration_fraction: float = 0.2,
        gamma: float = 1.0,
        **arguments: Any,
    ) -> None:
        super().__init__(env, gamma=gamma, **arguments)
        for name, value in (("learning_rate", learning_rate), ("exploration_fraction", exploration_fraction)):
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value} is not possible; it takes more than 0 and at most 1.")
        if not 0 <= final_epsilon <= 1:
            raise ValueError(f"final_epsilon={final_epsilon} is not possible; it is a share, in [0, 1].")
        self.learning_rate, self.history = learning_rate, history
        self.final_epsilon, self.exploration_fraction = final_epsilon, exploration_fraction
        self.epsilon = np.float64(1.0)
        self.values = np.zeros((self.num_tasks, self._rows(), self.num_actions))

    def _rows(self) -> int:
        rows = sum(self.num_actions**depth for depth in range(self.depth)) if self.history else self.depth
        if rows * self.num_tasks > 10_000_000:
            raise ValueError(f"history=True needs {rows:,} rows per task here; it is for few blocks and low depths.")
        return rows

    def _hyperparameters(self) -> dict[str, Any]:
        names = ("learning_rate", "history", "final_epsilon", "exploration_fraction", "gamma")
        return {name: getattr(self, name) for name in names}
