"""Means, intervals and differences of a few runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.lab.environments import card_of
from mtl_gym.lab.records import RunResult


def default_control(names: Sequence[str], env_id: str) -> str:
    """Return the default reference run of a comparison.

    It is the first control on the environment's card among `names`, or without a card the first name.

    Example:
        >>> default_control(["wpl", "random-fixed"], "MTLRouting-Digits-v0")
        'random-fixed'
        >>> default_control(["qls", "uniform"], "MTLScheduling-Digits-v0")
        'uniform'
    """
    card = card_of(env_id)
    controls = names if card is None else card.controls
    return next((control for control in controls if control in names), controls[0])


@dataclass(frozen=True)
class Estimate:
    """An estimate with its 95% interval.

    Attributes:
        value: Point estimate; NaN if there is none.
        low: Lower end; NaN for one seed.
        high: Upper end; NaN for one seed.

    Example:
        >>> print(Estimate(0.5, 0.25, 1.0), "and", Estimate(0.5))
        0.50 [0.25, 1.00] and 0.50
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")

    @classmethod
    def around(cls, value: float, reach: float) -> Estimate:
        """Return an estimate whose interval reaches equally far in both directions."""
        return cls(value, value - reach, value + reach)

    @classmethod
    def of_mean(cls, values: Sequence[float]) -> Estimate:
        """Return the mean of values with Student's interval."""
        return cls.around(float(np.mean(values)), reach(values))

    def __str__(self) -> str:
        """Format the estimate for a table; "-" if it is NaN."""
        if np.isnan(self.value):
            return "-"
        value, low, high = (f"{round(number, 2) + 0.0:.2f}" for number in (self.value, self.low, self.high))  # no -0.00
        return value if np.isnan(self.low) else f"{value} [{low}, {high}]"


def reach(values: Sequence[float], folds: int = 1) -> float:
    """Return how far Student's 95% interval reaches from the mean; NaN for fewer than two values.

    Args:
        values: Figures of runs.
        folds: Number of folds of a cross-validation to which the runs belong. Their training samples overlap, so the
            variance of the mean has the additional share ``1 / (folds - 1)`` of the variance of a run.

    Source: Nadeau, Bengio 2003, *Inference for the Generalization Error*; Bouckaert, Frank 2004 for repeated folds.

    Example:
        >>> round(reach([1.0, 3.0]), 2), round(reach([1.0, 3.0], folds=2), 2)
        (12.71, 22.01)
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return float("nan")
    share = 1 / n + (1 / (folds - 1) if folds > 1 else 0)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) * np.sqrt(share))


def figures_of(
    results: Iterable[RunResult], figure: Callable[[RunResult], float] = lambda result: result.figure
) -> dict[str, dict[int, float]]:
    """Return the figures of runs by name and seed."""
    found: dict[str, dict[int, float]] = {}
    for result in results:
        found.setdefault(result.settings.name, {})[result.settings.seed] = figure(result)
    return found


def best_of(figures: Mapping[str, float], measure: Measure) -> str:
    """Return the name of the best figure.

    Example:
        >>> best_of({"uniform": 3.6, "greedy": 3.4}, Measure("bits per byte", higher=False))
        'greedy'
    """
    return max(figures, key=lambda name: figures[name] if measure.higher else -figures[name])


@dataclass(frozen=True)
class Difference:
    """An agent's figure minus the control's, in the unit of the measure.

    Attributes:
        agent: Name of the agent.
        seeds: Number of shared seeds.
        mean: Mean of the differences.
        low: Lower end of the 95% interval; NaN for a single seed.
        high: Upper end; NaN for a single seed.
        measure: Unit and direction of the figure.
    """

    agent: str
    seeds: int
    mean: float
    low: float
    high: float
    measure: Measure = ACCURACY

    def __str__(self) -> str:
        """Format the difference with the agent's name."""
        return f"{self.agent} {self.interval}"

    @property
    def interval(self) -> str:
        """Mean and interval as text."""
        mean, low, high = (self.measure.text(value, sign="+") for value in (self.mean, self.low, self.high))
        if self.seeds == 1:
            return f"{mean} (one seed: no interval)"
        return f"{mean} (equal in {self.seeds} seeds)" if low == high else f"{mean} [{low}, {high}]"

    @property
    def better(self) -> bool:
        """True if the whole interval lies on the side of better figures."""
        return self.low > 0 if self.measure.higher else self.high < 0

    @property
    def worse(self) -> bool:
        """True if the whole interval lies on the side of worse figures."""
        return self.high < 0 if self.measure.higher else self.low > 0


def differences(
    results: Sequence[RunResult],
    control: str,
    figure: Callable[[RunResult], float] = lambda result: result.figure,
    measure: Measure | None = None,
) -> list[Difference]:
    """Return the difference of every other agent to `control`, paired by seed, with Student's 95% interval.

    Runs with equal seeds share initial weights and data order, whatever the agent. If runs differ in their fold, the
    interval is that of a cross-validation, see `reach`.

    Args:
        results: The runs.
        control: Name of the reference agent.
        figure: Function that returns the compared figure of a run; default that of the test split.
        measure: Unit and direction of that figure; default the measure of the runs.

    Returns:
        Differences, the best first.

    Example:
        >>> from mtl_gym.lab.records import RunSettings
        >>> def run(agent, seed, accuracy):
        ...     return RunResult(RunSettings("id", agent, 1, seed), accuracy, {}, None, None, 1.0, 1.0)
        >>> control = [run("random-fixed", 0, 0.60), run("random-fixed", 1, 0.62)]
        >>> print(*differences([*control, run("wpl", 0, 0.61), run("wpl", 1, 0.64)], "random-fixed"))
        wpl +1.50 [-4.85, +7.85]
    """
    if not results:
        return []
    measure = measure or results[0].measure
    runs = figures_of(results, figure)
    base = runs.pop(control, {})
    pairs = {name: [by_seed[seed] - base[seed] for seed in base if seed in by_seed] for name, by_seed in runs.items()}
    folds = len({_fold(result) for result in results})
    found = [_difference(name, values, measure, folds) for name, values in pairs.items() if values]
    return sorted(found, key=lambda difference: difference.mean, reverse=measure.higher)


def _fold(result: RunResult) -> object:
    return (result.settings.env_kwargs.get("data_kwargs") or {}).get("fold")


def _difference(agent: str, values: Sequence[float], measure: Measure, folds: int) -> Difference:
    mean, wide = float(np.mean(values)), reach(values, folds)
    return Difference(agent, len(values), mean, mean - wide, mean + wide, measure)
