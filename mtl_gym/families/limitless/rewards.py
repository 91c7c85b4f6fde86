"""The diversity bonus: modules that are seldom chosen earn more.

Source: LRN, section 4.3, equations 6 and 7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diversity_bonus(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Bonus of choosing each module, from how often each was chosen: 1 - (c - c_min) / (c_max - c_min).

    If all counts are equal it is 1 for all.

    Args:
        counts: [modules].

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
    """Equation 6 for algorithms that want every reward at once: over the last choices instead of a finished batch.

    Counts fade, so that about the last `memory` choices matter.

    Deviation: eq. 7 adds the bonus to the final reward of the episode in every time step. While a network is under
    construction its loss is not known, so the environment pays the bonus alone, and the final reward with the head.

    Args:
        weight: What the bonus is multiplied with; 0 turns it off.
        modules: Size of the pool.
        memory: Choices to look back on.

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
        """Bonus of each of the `chosen` modules; int64 [n] -> float32 [n]."""
        return (self.weight * diversity_bonus(self.counts)[chosen]).astype(np.float32)

    def add(self, chosen: NDArray[np.int64]) -> None:
        """Count choices; int64 [n]."""
        self.counts *= (1 - 1 / self.memory) ** len(chosen)
        self.counts += np.bincount(chosen, minlength=len(self.counts))
