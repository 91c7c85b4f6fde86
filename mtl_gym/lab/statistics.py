"""Differences between agents and the control, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

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
class Difference:
    """An agent's figure minus the control's; accuracies in percentage points.

    Attributes:
        agent: Name of the agent.
        seeds: Number of shared seeds.
        mean: Mean of the differences.
        low: Lower end of the 95% interval; NaN for a single seed.
        high: Upper end; NaN for a single seed.
    """

    agent: str
    seeds: int
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format the difference with the agent's name."""
        return f"{self.agent} {self.interval}"

    @property
    def interval(self) -> str:
        """Mean and interval as text."""
        interval = f" [{self.low:+.2f}, {self.high:+.2f}]" if self.seeds > 1 else " (one seed: no interval)"
        return f"{self.mean:+.2f}{interval}"


def differences(
    results: Sequence[RunResult], control: str, figure: Callable[[RunResult], float] | None = None
) -> list[Difference]:
    """Return the difference of every other agent to `control`, paired by seed, with Student's 95% interval.

    Runs with equal seeds share initial weights and data order, whatever the agent.

    Args:
        results: The runs.
        control: Name of the reference agent.
        figure: Function that returns the compared figure of a run; default accuracy in per cent.

    Returns:
        Differences in descending order.

    Example:
        >>> from mtl_gym.lab.records import RunSettings
        >>> def run(agent, seed, accuracy):
        ...     return RunResult(RunSettings("id", agent, 1, seed), accuracy, {}, None, None, 1.0, 1.0)
        >>> control = [run("random-fixed", 0, 0.60), run("random-fixed", 1, 0.62)]
        >>> print(*differences([*control, run("wpl", 0, 0.61), run("wpl", 1, 0.64)], "random-fixed"))
        wpl +1.50 [-4.85, +7.85]
    """
    if figure is None:
        figure = _percent
    accuracy = {(result.settings.name, result.settings.seed): figure(result) for result in results}
    seeds = sorted(seed for agent, seed in accuracy if agent == control)
    names = dict.fromkeys(agent for agent, _ in accuracy if agent != control)
    pairs = {
        name: np.array([accuracy[name, seed] - accuracy[control, seed] for seed in seeds if (name, seed) in accuracy])
        for name in names
    }
    found = [_difference(name, values) for name, values in pairs.items() if len(values)]
    return sorted(found, key=lambda difference: -difference.mean)


def _percent(result: RunResult) -> float:
    return 100 * result.accuracy


def _difference(agent: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Difference:
    from scipy.stats import t

    n, mean = len(values), float(values.mean())
    reach = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Difference(agent, n, mean, mean - reach, mean + reach)
