"""Rewards of a route: the final reward, and the collaboration reward of each action.

Source: Rosenbaum et al. 2018, section 3.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.classification import FinalReward as FinalReward
from mtl_gym.core.classification import final_reward as final_reward


class CollaborationReward:
    """Reward of an action in proportion to its mean share among the agents, which favours shared blocks.

    An agent is a task, or an agent of a dispatcher. The share of an action is its relative frequency among the
    decisions of an agent at that depth. The reward is rho times the mean share over all agents with a nonzero share, 0
    without one.

    Source: Rosenbaum et al. 2018, section 3.1, the count-based version.

    Deviation: the paper has "per-action reward <= final reward * rho". For a wrong answer (-1) this would bound rewards
    by -rho, but an action is rewarded before the answer is known. We read it as a bound on the size: no reward exceeds
    rho, which is rho times the size of a final reward of +1 or -1.

    Args:
        rho: Weight in [0, 10]; 0 turns the reward off.
        tasks: Number of agents of a run.
        depth: Number of decisions in a route.
        actions: Number of choices at each decision.
        runs: Number of runs side by side.

    Attributes:
        counts: Number of decisions; int64 [runs, depth, tasks, actions].

    Raises:
        ValueError: If rho is outside [0, 10].

    Example:
        >>> reward = CollaborationReward(0.3, tasks=2, depth=1, actions=3)
        >>> reward.add(np.array([0, 0]), 0, np.array([1, 2]))
        >>> reward(0, np.array([1]))
        array([0.15], dtype=float32)
    """

    def __init__(self, rho: float, tasks: int, depth: int, actions: int, runs: int = 1) -> None:
        if not 0 <= rho <= 10:
            raise ValueError(f"rho={rho} is out of range; pass a value from 0 (off) to 10.")
        self.rho = rho
        self.counts = np.zeros((runs, depth, tasks, actions), np.int64)

    def __call__(self, depth: int, action: NDArray[np.int64], run: NDArray[np.int64] | int = 0) -> NDArray[np.float32]:
        """Return the rewards of `action`, int64 [rows], at `depth` in `run`; float32 [rows]."""
        if not self.rho:
            return np.zeros(len(action), np.float32)
        counts = self.counts[:, depth]
        shares = counts / np.maximum(counts.sum(2, keepdims=True), 1)
        mean = shares.sum(1) / np.maximum((counts > 0).sum(1), 1)
        return (self.rho * mean[run, action]).astype(np.float32)

    def add(
        self, task: NDArray[np.int64], depth: int, action: NDArray[np.int64], run: NDArray[np.int64] | int = 0
    ) -> None:
        """Count decisions; int64 [rows] each."""
        counts = self.counts[:, depth]
        place = (run * counts.shape[1] + task) * counts.shape[2] + action
        counts += np.bincount(place, minlength=counts.size).reshape(counts.shape)
