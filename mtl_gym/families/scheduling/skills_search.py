"""Search for the best schedule of a chain of skills, and for its best static mix.

Without forgetting, some best schedule practises the skills one after the other, in the order of the chain. Proof:
levels never fall, and a higher level never makes a later one lower. Let a schedule practise skill j directly before
skill i < j. Exchanged, both decisions leave every other skill as it was; skill i gains the same, because it does not
depend on j; and skill j gains the same or, if i is its prerequisite, no less. Sorting is a sequence of such exchanges,
and a task that teaches nothing can be replaced by any skill. `switch_times` covers all sorted schedules.

With forgetting, `best_schedule` improves that schedule by beam search. A beam keeps the states of highest value under
prices: the derivatives of the final mean level with respect to each level at that step of the best schedule so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mtl_gym.core.rows import Rows
from mtl_gym.families.scheduling.skills_chain import Chain, Levels

WIDTH = 1000
# Search for static mixes: draws in each round, rounds, mixes that a round keeps, and parameter of the Dirichlet draws.
DRAWS, ROUNDS, PARENTS, SPARSITY = 4000, 8, 20, 0.5


@dataclass(frozen=True)
class _Partial:
    """Practice of the first skills of a chain.

    Attributes:
        counts: Decisions on each of these skills; int64 [n, skills].
        last: Level of the last of them; float64 [n].
        total: Sum of their levels; float64 [n].
    """

    counts: Rows
    last: Levels
    total: Levels

    def best(self) -> _Partial:
        """Leave out what another one beats in last level and sum with as many decisions."""
        used = self.counts.sum(1)
        order = np.lexsort((-self.total, -self.last, used))
        height = self.total[order] + used[order] * (self.counts.shape[1] + 1.0)  # sums lie below that step
        kept = order[np.concatenate([[True], height[1:] > np.maximum.accumulate(height)[:-1]])]
        return _Partial(self.counts[kept], self.last[kept], self.total[kept])


@cache
def best_schedule(chain: Chain, budget: int, width: int = WIDTH) -> tuple[int, ...]:
    """Return the best schedule of places: exact without forgetting, else the best that was found."""
    best = np.repeat(np.arange(chain.skills), switch_times(chain, budget))
    value = chain.values(best[None])[0]
    while chain.forgetting:
        found = _beam(chain, _prices(chain, best), width)
        before, value = value, max(value, chain.values(found[None])[0])
        if value <= before:
            break
        best = found
    return tuple(best.tolist())


def switch_times(chain: Chain, budget: int) -> Rows:
    """Return the decisions on each skill in the best schedule without forgetting; int64 [skills].

    Every split of the budget is covered: of those that are equal in decisions, the ones remain that no other beats in
    both the sum of levels and the level of the last skill, on which alone later skills depend.

    Example:
        >>> switch_times(Chain(rates=(0.5, 0.5), order=(0, 1), forgetting=0.0), budget=8)
        array([5, 3])
    """
    part = _Partial(np.zeros((1, 0), np.int64), np.ones(1), np.zeros(1))
    for rate in chain.rates:
        before, times = np.nonzero(part.counts.sum(1)[:, None] + np.arange(budget + 1) <= budget)
        level = 1 - (1 - rate * part.last[before] ** 8) ** times
        counts = np.column_stack([part.counts[before], times])
        part = _Partial(counts, level, part.total[before] + level).best()
    best: Rows = part.counts[part.total.argmax()]
    best[-1] += budget - best.sum()
    return best


def _prices(chain: Chain, schedule: Rows) -> Levels:
    """Return the derivatives of the final mean with respect to levels; float64 [budget + 1, skills].

    Args:
        chain: The chain.
        schedule: Places; int64 [budget].
    """
    levels = [np.zeros((1, chain.skills))]
    for place in schedule:
        levels.append(chain.practised(levels[-1], np.array([place])))
    prices = np.full((len(schedule) + 1, chain.skills), 1 / chain.skills)
    for step in reversed(range(len(schedule))):
        prices[step] = _earlier_prices(chain, levels[step][0], schedule[step], prices[step + 1])
    return prices


def _earlier_prices(chain: Chain, level: Levels, place: int, price: Levels) -> Levels:
    """Return the prices before a decision from those after it; float64 [skills]."""
    ready = level[place - 1] if place else 1.0
    earlier = (1 - chain.forgetting) * price
    earlier[place] = (1 - chain.rates[place] * ready**8) * price[place]
    if place:
        earlier[place - 1] += price[place] * chain.rates[place] * 8 * ready**7 * (1 - level[place])
    return earlier


def _beam(chain: Chain, prices: Levels, width: int) -> Rows:
    """Return the best schedule of a beam that keeps `width` states of highest value; int64 [budget]."""
    skills, budget = chain.skills, len(prices) - 1
    levels, history = np.zeros((1, skills)), np.zeros((1, budget), np.int64)
    for step in range(budget):
        place = np.tile(np.arange(skills), len(levels))
        after = chain.practised(np.repeat(levels, skills, 0), place)
        kept = np.argsort(-(after @ prices[step + 1]), kind="stable")[:width]
        levels, history = after[kept], history[kept // skills]
        history[:, step] = place[kept]
    best: Rows = history[levels.mean(1).argmax()]
    return best


def mixed(shares: Levels, budget: int) -> Rows:
    """Return schedules that keep constant shares: the next decision is the one furthest behind its share.

    Args:
        shares: Share of each place; float64 [schedules, places].
        budget: Number of decisions.

    Returns:
        int64 [schedules, budget].

    Example:
        >>> mixed(np.array([[0.75, 0.25]]), budget=8)
        array([[0, 0, 1, 0, 0, 0, 1, 0]])
    """
    counts, rows = np.zeros_like(shares), np.arange(len(shares))
    schedules = np.zeros((len(shares), budget), np.int64)
    for step in range(budget):
        schedules[:, step] = (shares * (step + 1) - counts).argmax(1)
        counts[rows, schedules[:, step]] += 1
    return schedules


@cache
def best_mix(chain: Chain, budget: int) -> tuple[float, ...]:
    """Return the best shares of the skills that a random search finds, in the order of the chain."""
    random = np.random.default_rng(0)
    parents = np.full((1, chain.skills), 1 / chain.skills)
    for spread in 0.5 ** np.arange(ROUNDS):
        drawn = random.dirichlet(np.full(chain.skills, SPARSITY), DRAWS)
        children = (1 - spread) * parents[random.integers(len(parents), size=DRAWS)] + spread * drawn
        shares = np.concatenate([parents, children])
        values = chain.values(mixed(shares, budget))
        parents = shares[np.argsort(-values, kind="stable")[:PARENTS]]
    return tuple(parents[0].tolist())
