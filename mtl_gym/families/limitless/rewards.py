"""Diversity bonus: rarely chosen modules earn more.

Source: LRN, section 4.3, equations 6 and 7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diversity_bonus(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the bonus of each module: 1 - (c - c_min) / (c_max - c_min), or 1 if all counts are equal.

    Args:
        counts: Number of choices c of each module; [modules].

    Returns:
        float64 [modules], between 0 and 1.

    Source: LRN, eq. 6.

    Example:
        >>> diversity_bonus(np.array([4, 0, 1]))
        array([0.  , 1.  , 0.75])
    """
    least, spread = counts.min(), counts.max() - counts.min()
    return np.ones(len(counts)) if spread == 0 else 1 - (counts - least) / spread


class RunningBonus:
    """Bonus of equation 6 over recent choices instead of a finished batch, so that every step has a reward at once.

    Counts decay, with a memory of about `memory` choices.

    Deviation: eq. 7 adds the bonus to the final reward of the episode in every time step. The loss of a network under
    construction is unknown, so the environment pays the bonus alone, and the final reward with the head.

    Args:
        weight: Factor of the bonus; 0 turns it off.
        modules: Size of the pool.
        memory: Approximate number of recent choices that count.

    Example:
        >>> bonus = RunningBonus(1.0, modules=3, memory=1000)
        >>> bonus.add(np.array([0, 0, 1]))
        >>> bonus(np.array([0, 1, 2]))
        array([0. , 0.5, 1. ], dtype=float32)
    """

    def __init__(self, weight: float, modules: int, memory: int) -> None:
        self.weight, self.memory = weight, memory
        self.counts = np.zeros(modules)

    def __call__(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the bonus of each of the `chosen` modules; int64 [n] -> float32 [n]."""
        return (self.weight * diversity_bonus(self.counts)[chosen]).astype(np.float32)

    def add(self, chosen: NDArray[np.int64]) -> None:
        """Count choices; int64 [n]."""
        self.counts *= (1 - 1 / self.memory) ** len(chosen)
        self.counts += np.bincount(chosen, minlength=len(self.counts))
