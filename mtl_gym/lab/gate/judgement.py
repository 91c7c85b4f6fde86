"""Judgement of an id by the five lines of the gate, and tiers of stock algorithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_gym.core.measure import Measure
from mtl_gym.lab.compare import Row, summarise
from mtl_gym.lab.gate.plan import Trial
from mtl_gym.lab.records import RunResult
from mtl_gym.lab.statistics import Estimate, best_of, figures_of

LINES = (
    "The oracle is 10 points and 5 standard deviations above the best control.",
    "A learner closes half of that distance.",
    "The 95% intervals of two stock algorithms do not overlap.",
    "A run takes at most 3 CPU minutes.",
    "The first line also holds at the other lengths.",
)
POINTS, DEVIATIONS, SHARE, SECONDS = 10.0, 5.0, 0.5, 180.0


@dataclass(frozen=True)
class Judgement:
    """Figures of an id, and the lines of the gate that they meet.

    Attributes:
        env_id: The id.
        steps: Decisions of a run at the card's length.
        rows: One line per agent, the best first.
        cpu_seconds: Mean processor seconds of a run, by agent.
        oracle: Name of the agent that knows the best decisions.
        control: Name of the best control; None if no control finished.
        learner: Name of the best learner; None if no learner finished.
        lines: Whether each of the five lines holds.
        tiers: Stock algorithms in tiers, the best first.
        distances: Optimum minus best control at each length, as text.
    """

    env_id: str
    steps: int
    rows: Sequence[Row]
    cpu_seconds: Mapping[str, float]
    oracle: str
    control: str | None
    learner: str | None
    lines: tuple[bool, ...]
    tiers: Sequence[Sequence[str]]
    distances: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """True if all lines hold."""
        return all(self.lines)

    def row(self, name: str | None) -> Row | None:
        """Return the line of an agent; None if it has none."""
        return next((row for row in self.rows if row.agent == name), None)


def judge(trial: Trial, results: Sequence[RunResult], others: Mapping[str, Sequence[RunResult]]) -> Judgement:
    """Judge an id.

    Args:
        trial: The runs of the id.
        results: Finished runs at the card's length, at least one.
        others: Finished runs of oracle and controls at the other lengths, by the name of the length.
    """
    measure, runs = results[0].measure, {name: list(by.values()) for name, by in figures_of(results).items()}
    means = {name: float(np.mean(figures)) for name, figures in runs.items()}
    intervals = {name: Estimate.of_mean(runs[name]) for name in trial.stock if name in runs}
    rows, seconds = summarise(results), _cpu_seconds(results)
    lengths = {name: _Distance.of(trial, found, measure) for name, found in {"": results, **others}.items()}
    scores = {row.agent: row.score.value for row in rows if row.score is not None}
    lines = (
        lengths[""].large,
        any(scores.get(name, 0.0) >= SHARE for name in trial.learners),
        differ(list(intervals.values())),
        max(seconds.values()) <= SECONDS,
        bool(others) and all(distance.large for name, distance in lengths.items() if name),
    )
    return Judgement(
        trial.env_id,
        trial.card.steps,
        rows,
        seconds,
        oracle=trial.card.oracle or "",
        control=_best(means, trial.card.controls, measure),
        learner=_best(means, trial.learners, measure),
        lines=lines,
        tiers=tiers(intervals, measure),
        distances={name: str(distance) for name, distance in lengths.items()},
    )


def _best(means: Mapping[str, float], names: Sequence[str], measure: Measure) -> str | None:
    known = {name: means[name] for name in names if name in means}
    return best_of(known, measure) if known else None


def _cpu_seconds(results: Sequence[RunResult]) -> dict[str, float]:
    found = figures_of(results, lambda result: float("nan") if result.cpu_seconds is None else result.cpu_seconds)
    return {name: float(np.mean(list(by_seed.values()))) for name, by_seed in found.items()}


@dataclass(frozen=True)
class _Distance:
    """Distance between the oracle and the best control.

    Attributes:
        measure: Unit and direction.
        value: Means apart; positive if the oracle is better; NaN if one of the two is missing.
        spread: The larger standard deviation over seeds; NaN for one seed.
    """

    measure: Measure
    value: float
    spread: float

    @classmethod
    def of(cls, trial: Trial, results: Sequence[RunResult], measure: Measure) -> _Distance:
        """Return the distance in the runs of one length."""
        rows = {row.agent: row for row in summarise(results)}
        control = next((name for name in rows if name in trial.card.controls), None)  # rows are sorted
        oracle = rows.get(trial.card.oracle or "")
        if oracle is None or control is None:
            return cls(measure, float("nan"), float("nan"))
        apart = oracle.figure - rows[control].figure
        return cls(measure, apart if measure.higher else -apart, max(oracle.spread, rows[control].spread))

    @property
    def large(self) -> bool:
        """True if the first line of the gate holds; points are asked for where the figure is in per cent."""
        points = POINTS if self.measure.unit == "%" else 0.0
        return self.value >= points and self.value > 0 and self.value >= DEVIATIONS * self.spread

    def __str__(self) -> str:
        """Return the distance and the standard deviation."""
        return f"{self.measure.text(self.value)} (sd {self.measure.text(self.spread)})"


def differ(intervals: Sequence[Estimate]) -> bool:
    """Return whether two intervals do not overlap.

    Example:
        >>> differ([Estimate(50, 40, 60), Estimate(75, 61, 89)]), differ([Estimate(50, 40, 60), Estimate(58, 50, 66)])
        (True, False)
    """
    return any(one.low > other.high for one in intervals for other in intervals)


def tiers(intervals: Mapping[str, Estimate], measure: Measure) -> list[list[str]]:
    """Return names in tiers, the best first.

    Names are taken in the order of their means. One opens a tier if its interval lies on the worse side of that of the
    best member of the tier above.

    Example:
        >>> from mtl_gym.core.measure import ACCURACY
        >>> found = {"ppo": Estimate(90, 88, 92), "a2c": Estimate(86, 83, 89), "dqn": Estimate(70, 60, 80)}
        >>> tiers(found, ACCURACY)
        [['ppo', 'a2c'], ['dqn']]
    """
    found: list[list[str]] = []
    for name in sorted(intervals, key=lambda name: intervals[name].value, reverse=measure.higher):
        if not found or _below(intervals[name], intervals[found[-1][0]], measure):
            found.append([])
        found[-1].append(name)
    return found


def _below(one: Estimate, other: Estimate, measure: Measure) -> bool:
    return one.high < other.low if measure.higher else one.low > other.high
