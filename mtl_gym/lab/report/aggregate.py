"""Statistics of the scores of a few runs: rliable's metrics with bootstrap intervals.

Source: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.extras import MissingExtraError, advice
from mtl_gym.lab.statistics import Estimate

Floats: TypeAlias = NDArray[np.float64]

METRICS = ("interquartile mean", "median", "mean", "optimality gap")
REPETITIONS = 2_000
SEED = 0
# Limits of plotted scores; scores outside still count and are labelled at the edge.
LOWEST, HIGHEST = -1.0, 2.0
# Number of scores up to which the interquartile mean trims nothing.
TOO_FEW_TO_CUT = 3


class NoStatisticsError(ValueError):
    """Runs that cannot be aggregated; the message states the reason."""


@dataclass(frozen=True)
class Scores:
    """Comparable scores of agents.

    Attributes:
        comparisons: Names of the comparisons.
        seeds: Seeds that all agents finished in all comparisons.
        left_out: Agents missing from at least one comparison.
        values: Scores by agent, float64 [seeds, comparisons], or curves, float64 [seeds, comparisons, points].
    """

    comparisons: tuple[str, ...]
    seeds: tuple[int, ...]
    left_out: tuple[str, ...]
    values: dict[str, Floats]


def align(scores: Mapping[str, Mapping[tuple[str, int], float | Floats]]) -> Scores:
    """Stack scores of the agents present in every comparison, at the seeds that these agents share.

    Args:
        scores: Scores by comparison, then by agent and seed.

    Raises:
        NoStatisticsError: If no agent is in every comparison, or the agents share no seed.
    """
    everyone = dict.fromkeys(agent for runs in scores.values() for agent, _ in runs)
    agents = [agent for agent in everyone if all(any(name == agent for name, _ in runs) for runs in scores.values())]
    if not agents:
        raise NoStatisticsError("no agent has a finished run in every comparison.")
    having = [{seed for name, seed in runs if name == agent} for runs in scores.values() for agent in agents]
    seeds = sorted(set.intersection(*having))
    if not seeds:
        raise NoStatisticsError(f"there is no seed that all of {', '.join(agents)} finished.")
    values = {
        agent: np.array([[runs[agent, seed] for runs in scores.values()] for seed in seeds], np.float64)
        for agent in agents
    }
    return Scores(tuple(scores), tuple(seeds), tuple(name for name in everyone if name not in agents), values)


def rliable() -> tuple[ModuleType, ModuleType]:
    """Import rliable; return its modules `library` and `metrics`.

    Raises:
        MissingExtraError: If rliable cannot be imported.
    """
    try:
        from rliable import library, metrics
    except (ImportError, TypeError) as error:  # TypeError: rliable's own dependency arch 7 beside pandas 3
        raise MissingExtraError(f"{advice('A report', 'rliable')} It cannot be imported ({error}).") from error
    return library, metrics


@contextmanager
def seeded() -> Iterator[None]:
    """Seed NumPy's global generator, from which rliable always draws, and restore its state afterwards."""
    state = np.random.get_state()
    np.random.seed(SEED)
    try:
        yield
    finally:
        np.random.set_state(state)


def estimate(values: Floats | list[Floats], function: Callable[..., Floats]) -> Floats:
    """Return estimates with stratified bootstrap intervals; seeds are resampled within each comparison.

    Args:
        values: float64 [seeds, comparisons, ...], or several such arrays, resampled independently.
        function: Function of these arrays that returns float64 [figures].

    Returns:
        Value, lower and upper end of the 95% percentile interval, float64 [3, figures]; the ends are NaN for one seed.
    """
    arrays = values if isinstance(values, list) else [values]
    if max(map(len, arrays)) < 2:
        value = function(*arrays)
        return np.stack([value, *np.full((2, *value.shape), np.nan)])
    library, _ = rliable()
    with seeded():
        points, intervals = library.get_interval_estimates({"": values}, function, reps=REPETITIONS)
    return np.stack([points[""], *intervals[""]])


@dataclass(frozen=True)
class Statistics:
    """Statistics of the scores of one or more comparisons.

    Attributes:
        scores: The underlying scores.
        metrics: Estimates by metric ("interquartile mean", "mean", "optimality gap", and for several comparisons
            "median") and agent.
        thresholds: Thresholds of the profiles, float64 [thresholds].
        profiles: Share of runs above each threshold with its interval, by agent; float64 [3, thresholds].
        control: Reference agent of `improvement`; None if it has no scores.
        improvement: Probability that a run of an agent beats a run of the control, by agent.
    """

    scores: Scores
    metrics: dict[str, dict[str, Estimate]]
    thresholds: Floats
    profiles: dict[str, Floats]
    control: str | None
    improvement: dict[str, Estimate]

    @property
    def ranking(self) -> list[str]:
        """Agents by descending interquartile mean."""
        return ranking(self.metrics)


def ranking(metrics: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """Return agents by descending interquartile mean."""
    iqm = metrics["interquartile mean"]
    return sorted(iqm, key=lambda agent: -iqm[agent].value)


def statistics_of(scores: Scores, control: str) -> Statistics:
    """Return all statistics of scores, float64 [seeds, comparisons] by agent."""
    thresholds = _thresholds(scores)
    profiles = {
        agent: estimate(v, lambda s: (s[..., None] > thresholds).mean((0, 1))) for agent, v in scores.values.items()
    }
    there = control if control in scores.values else None
    return Statistics(scores, metrics_of(scores), thresholds, profiles, there, improvement_of(scores, there))


def metrics_of(scores: Scores) -> dict[str, dict[str, Estimate]]:
    """Return the estimates of `METRICS` by metric and agent; the median only for several comparisons."""
    found = {agent: estimate(values, _metrics) for agent, values in scores.values.items()}
    return {
        name: {agent: Estimate(*figures[:, column]) for agent, figures in found.items()}
        for column, name in enumerate(METRICS)
        if name != "median" or len(scores.comparisons) > 1
    }


def _metrics(scores: Floats) -> Floats:
    _, metrics = rliable()
    functions = (
        metrics.aggregate_iqm,
        metrics.aggregate_median,
        metrics.aggregate_mean,
        metrics.aggregate_optimality_gap,
    )
    return np.array([function(scores) for function in functions])


def _thresholds(scores: Scores) -> Floats:
    every = np.concatenate([values.ravel() for values in scores.values.values()])
    return np.linspace(max(LOWEST, every.min() - 0.05), min(HIGHEST, every.max() + 0.05), 101)


def improvement_of(scores: Scores, control: str | None) -> dict[str, Estimate]:
    """Return by agent the probability that one of its runs beats a run of the control; empty without a control."""
    if control is None:
        return {}
    base = scores.values[control]
    others = {agent: values for agent, values in scores.values.items() if agent != control}
    return {agent: Estimate(*estimate([v, base], probability_of_improvement)[:, 0]) for agent, v in others.items()}


def probability_of_improvement(scores: Floats, base: Floats) -> Floats:
    """Return the probability that a score exceeds one of `base`, mean over comparisons; a tie counts half.

    It equals rliable's metric of the same name, whose SciPy test warns about ties.

    Args:
        scores: float64 [seeds, comparisons].
        base: float64 [base seeds, comparisons].

    Returns:
        float64 [1].

    Source: Agarwal et al. 2021, section 4.3.

    Example:
        >>> probability_of_improvement(np.array([[2.0], [1.0]]), np.array([[1.0], [0.0]]))
        array([0.875])
    """
    pairs = scores[:, None] - base[None]
    return np.array([((pairs > 0) + 0.5 * (pairs == 0)).mean()])


def interquartile_curve(curves: Floats) -> Floats:
    """Return the interquartile mean at every point, float64 [points], of curves [seeds, comparisons, points]."""
    from scipy.stats import trim_mean

    return trim_mean(curves.reshape(-1, curves.shape[-1]), 0.25, axis=0)
