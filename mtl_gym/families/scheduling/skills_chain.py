"""Skills of a learner in closed form: a chain of prerequisites, forgetting, and tasks that teach nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.instances import secret
from mtl_gym.core.rows import Rows

Levels = NDArray[np.float64]

# Slowest and fastest rate of a skill.
RATES = (0.24, 0.32)


@dataclass(frozen=True)
class Chain:
    """Rates and order of skills, of which each one is the prerequisite of the next.

    With x_k the level of skill k in [0, 1], and x_0 = 1, a decision that practises skill k changes the levels to

        x_k <- x_k + rate_k * x_(k-1)^8 * (1 - x_k)
        x_j <- (1 - forgetting) * x_j                for every other skill j

    All levels begin at 0. The eighth power stands for mastery: at half the level of its prerequisite, a skill grows at
    1/256 of its rate.

    Attributes:
        rates: Rate of each skill, in the order of the chain.
        order: Tasks by place: those of the skills in the order of the chain, then those that teach nothing.
        forgetting: Share of its level that a skill loses in a decision that does not practise it.

    Example:
        >>> chain = Chain(rates=(0.5, 0.25), order=(2, 0, 1), forgetting=0.0)
        >>> chain.practised(np.array([[0.5, 0.0]]), np.array([0]))
        array([[0.75, 0.  ]])
    """

    rates: tuple[float, ...]
    order: tuple[int, ...]
    forgetting: float

    @classmethod
    def drawn(cls, skills: int, noise_tasks: int, forgetting: float, instance: int) -> Chain:
        """Return the chain of an instance; its order is never that of the tasks' numbers."""
        random = secret("scheduling-skills", instance)
        rates = random.uniform(*RATES, skills)
        order = np.arange(skills + noise_tasks)
        while (np.diff(order[: max(skills, 2)]) > 0).all():
            order = random.permutation(skills + noise_tasks)
        return cls(tuple(rates.tolist()), tuple(order.tolist()), forgetting)

    @property
    def skills(self) -> int:
        """Number of skills."""
        return len(self.rates)

    @cached_property
    def tasks(self) -> Rows:
        """Task of each skill, in the order of the chain; int64 [skills]."""
        return np.array(self.order[: self.skills])

    @cached_property
    def places(self) -> Rows:
        """Place of each task in `order`; int64 [tasks]."""
        return np.argsort(self.order)

    def gains(self, levels: Levels) -> Levels:
        """Return what practice adds to the level of each skill; float64 [..., skills] -> [..., skills]."""
        return _gains(np.array(self.rates), levels)

    def practised(self, levels: Levels, place: Rows) -> Levels:
        """Return the levels after one decision.

        Args:
            levels: float64 [rows, skills].
            place: Place of the practised task, which is no skill's from `skills` on; int64 [rows].
        """
        return _practised(np.array(self.rates), self.forgetting, levels, place)

    def values(self, schedules: Rows) -> Levels:
        """Return the mean level at the end of schedules of places; int64 [schedules, budget] -> float64 [schedules]."""
        levels = np.zeros((len(schedules), self.skills))
        for place in schedules.T:
            levels = self.practised(levels, place)
        return levels.mean(1)


@dataclass(frozen=True)
class Chains:
    """Chains of equal length, side by side.

    Attributes:
        rates: Rate of each skill, in the order of its chain; float64 [chains, skills].
        tasks: Task of each skill, in the order of its chain; int64 [chains, skills].
        places: Place of each task in the order of its chain; int64 [chains, tasks].
        forgetting: Share of its level that a skill loses in a decision that does not practise it.
    """

    rates: Levels
    tasks: Rows
    places: Rows
    forgetting: float

    @classmethod
    def of(cls, chains: Sequence[Chain]) -> Chains:
        """Stack chains of equal length, number of tasks and forgetting."""
        rates = np.array([chain.rates for chain in chains])
        tasks, places = (np.stack([getattr(chain, name) for chain in chains]) for name in ("tasks", "places"))
        return cls(rates, tasks, places, chains[0].forgetting)

    def taken(self, index: Rows) -> Chains:
        """Return the chains at an index; int64 [rows]."""
        return Chains(self.rates[index], self.tasks[index], self.places[index], self.forgetting)

    def practised(self, levels: Levels, task: Rows) -> Levels:
        """Return the levels after one decision in every chain.

        Args:
            levels: float64 [chains, skills].
            task: The practised task; int64 [chains].
        """
        place = np.take_along_axis(self.places, task[:, None], 1)[:, 0]
        return _practised(self.rates, self.forgetting, levels, place)


def _gains(rates: Levels, levels: Levels) -> Levels:
    """Return what practice adds to each level; float64 [..., skills], both in the order of the chain."""
    ready = np.ones_like(levels)
    ready[..., 1:] = _mastery(levels[..., :-1])
    gains: Levels = rates * ready * (1 - levels)
    return gains


def _practised(rates: Levels, forgetting: float, levels: Levels, place: Rows) -> Levels:
    """Return the levels after practice; rates [..., skills], levels float64 [rows, skills], place int64 [rows]."""
    chosen = place[:, None] == np.arange(levels.shape[-1])
    return np.where(chosen, levels + _gains(rates, levels), (1 - forgetting) * levels)


def _mastery(level: Levels) -> Levels:
    """Return the eighth power, in three products."""
    squared = level * level
    fourth = squared * squared
    return fourth * fourth
