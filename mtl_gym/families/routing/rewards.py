"""What a route earns: the final reward, and the collaboration reward of each action.

Source: Rosenbaum et al. 2018, section 3.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.classification import FinalReward as FinalReward
from mtl_gym.core.classification import final_reward as final_reward


class CollaborationReward:
    """Pays an action in proportion to how often the agents that have taken it do take it, so that blocks get shared.

    An agent is a task. Its share of an action is how often it took it among its own decisions at that depth; the
    reward is rho times the mean share over the agents that took the action before, 0 if none has.

    Source: Rosenbaum et al. 2018, section 3.1, the count-based version.

    Deviation: the paper has "per-action reward <= final reward * rho". Where the answer is wrong (-1) that would leave
    no reward above -rho, but an action is paid before the answer is known. It is read as a bound on the size: no reward
    is above rho, which is rho times the size of a final reward of +1 or -1.

    Args:
        rho: Weight in [0, 10]; 0 turns the reward off.
        tasks: Number of agents.
        depth: Decisions in a route.
        actions: Choices at each decision.

    Raises:
        ValueError: If rho is outside [0, 10].

    Example:
        >>> reward = CollaborationReward(0.3, tasks=2, depth=1, actions=3)
        >>> reward.add(np.array([0, 0]), 0, np.array([1, 2]))
        >>> reward(0, np.array([1]))
        array([0.15], dtype=float32)
    """

    def __init__(self, rho: float, tasks: int, depth: int, actions: int) -> None:
        if not 0 <= rho <= 10:
            raise ValueError(f"rho={rho} is not possible; the collaboration reward takes 0 (off) to 10.")
        self.rho = rho
        self.counts = np.zeros((depth, tasks, actions), np.int64)

    def __call__(self, depth: int, action: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rewards of `action` at `depth`, int64 [rows]; float32 [rows]."""
        counts = self.counts[depth]
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        mean = shares.sum(0) / np.maximum((counts > 0).sum(0), 1)
        return (self.rho * mean[action]).astype(np.float32)

    def add(self, task: NDArray[np.int64], depth: int, action: NDArray[np.int64]) -> None:
        """Count decisions; int64 [rows] each."""
        counts = self.counts[depth]
        counts += np.bincount(task * counts.shape[1] + action, minlength=counts.size).reshape(counts.shape)
