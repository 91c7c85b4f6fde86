"""Scores: figures on the scale from the best control (0) to the optimum (1) of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.measure import Measure
from mtl_gym.lab.environments import card_of
from mtl_gym.lab.records import RunResult
from mtl_gym.lab.statistics import Estimate, best_of, figures_of, reach
from mtl_gym.registration import Card

# Name of an optimum that the card states.
OPTIMUM = "the optimum"


class NoScoreError(ValueError):
    """A comparison without scores; the message states the reason."""


@dataclass(frozen=True)
class Anchor:
    """A figure at one end of the scale.

    Attributes:
        name: Name of the run that measured it.
        value: The figure, in the unit of the measure.
        runs: Figures of the comparison's runs by seed; empty if the figure is the card's.
    """

    name: str
    value: float
    runs: Mapping[int, float] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Remark on a figure that this comparison did not measure."""
        return "" if self.runs else ", from the card"

    def at(self, seeds: Sequence[int]) -> Anchor:
        """Return the anchor whose value is the mean over some of its seeds; a figure of the card stays."""
        return replace(self, value=_mean(self.runs, seeds)) if self.runs else self


@dataclass(frozen=True)
class Scale:
    """The scale of scores in a comparison.

    Attributes:
        control: Score 0, the best control.
        optimum: Score 1.

    Example:
        >>> scale = Scale(Anchor("shared", 50.0), Anchor("oracle", 90.0))
        >>> scale(70.0), scale(40.0)
        (0.5, -0.25)
    """

    control: Anchor
    optimum: Anchor

    def __call__(self, figure: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
        """Return the scores of figures."""
        return (figure - self.control.value) / self.distance

    def scores(self, results: Iterable[RunResult]) -> dict[tuple[str, int], float | NDArray[np.float64]]:
        """Return the score of every run by name and seed."""
        return {(result.settings.name, result.settings.seed): self(result.figure) for result in results}

    @property
    def distance(self) -> float:
        """Optimum minus best control; negative if lower figures are better."""
        return self.optimum.value - self.control.value

    def sentence(self, measure: Measure) -> str:
        """Return a sentence that tells both ends of the scale."""
        low, high, gap = map(measure.text, (self.control.value, self.optimum.value, abs(self.distance)))
        zero = f"{self.control.name} ({low}{self.control.source})"
        one = f"{self.optimum.name} ({high}{self.optimum.source})"
        return f"Score 0 is the best control, {zero}; score 1 is {one}, {gap} better."

    @property
    def narrow(self) -> bool:
        """Return whether the 95% interval of the distance contains 0, so that scores are mostly chance."""
        seeds = _shared(self.optimum.runs, self.control.runs)
        gaps = [_at(self.optimum, seed) - _at(self.control, seed) for seed in seeds]
        return len(gaps) > 1 and reach(gaps) >= abs(self.at(seeds).distance)

    def at(self, seeds: Sequence[int]) -> Scale:
        """Return the scale whose measured ends are means over some of their seeds, at least one."""
        return Scale(self.control.at(seeds), self.optimum.at(seeds))

    def estimate(self, runs: Mapping[int, float]) -> Estimate:
        """Return the score of figures by seed, with Student's 95% interval.

        Score and interval are paired: figures and both ends are means over the seeds that all three finished. The
        interval is that of a ratio of means (delta method), so it includes the spread of both ends where they were
        measured in the comparison. It is NaN for one shared seed, and for the ends themselves. The score is NaN without
        a shared seed, and if the optimum is no better than the control on the shared ones.
        """
        seeds = _shared(runs, self.control.runs, self.optimum.runs)
        if not seeds or self.at(seeds).distance * self.distance <= 0:
            return Estimate(float("nan"))
        scale = self.at(seeds)
        score = float(scale(_mean(runs, seeds)))
        rest = [
            runs[seed] - _at(self.control, seed) - score * (_at(self.optimum, seed) - _at(self.control, seed))
            for seed in seeds
        ]
        wide = reach(rest) / abs(scale.distance)
        return Estimate(score) if runs in (self.control.runs, self.optimum.runs) else Estimate.around(score, wide)


def _shared(*runs: Mapping[int, float]) -> list[int]:
    """Return the seeds that all agents finished; those with figures of the card have every seed."""
    measured = [set(by_seed) for by_seed in runs if by_seed]
    return sorted(set.intersection(*measured)) if measured else []


def _mean(runs: Mapping[int, float], seeds: Sequence[int]) -> float:
    """Return the mean figure over some seeds."""
    return float(np.mean([figure for seed, figure in runs.items() if seed in seeds]))


def _at(anchor: Anchor, seed: int) -> float:
    return anchor.runs.get(seed, anchor.value)


def scale_of(
    results: Sequence[RunResult], figure: Callable[[RunResult], float] = lambda result: result.figure
) -> Scale:
    """Return the scale of a comparison.

    Its optimum is the mean of the oracle's runs, its best control the best mean of a control, of those with the most
    finished seeds. Where the comparison has none of them and leaves the environment's arguments at their defaults, the
    figures on the card take their place.

    Args:
        results: Runs of the comparison.
        figure: Function that returns the figure of a run; default that of the test split.

    Raises:
        NoScoreError: If the environment has no oracle, an end of the scale is unknown, or the optimum is no better than
            the best control.
    """
    env_id = results[0].settings.env_id if results else "no environment"
    card = card_of(env_id)
    if card is None or card.oracle is None:
        raise NoScoreError(f"the best figure of {env_id} is unknown; compare figures and differences.")
    measure, plain = results[0].measure, not any(result.settings.env_kwargs for result in results)
    control = _measured(results, card.controls, measure, figure) or (_control_on_card(card) if plain else None)
    if control is None:
        raise NoScoreError(_lacking("a control", card.controls, plain))
    optimum = _measured(results, (card.oracle,), measure, figure) or (_optimum_on_card(card) if plain else None)
    if optimum is None:
        raise NoScoreError(_lacking("the oracle", (card.oracle,), plain))
    scale, seeds = Scale(control, optimum), _shared(control.runs, optimum.runs)
    if control.runs and optimum.runs and not seeds:
        raise NoScoreError(f"no seed was finished by both {control.name} and {optimum.name}.")
    paired = scale.at(seeds)
    if not measure.better(paired.optimum.value, paired.control.value):
        raise NoScoreError(f"the optimum ({optimum.name}) is no better than the best control, {control.name}.")
    return scale


def scale_or_reason(results: Sequence[RunResult]) -> Scale | str:
    """Return the scale of a comparison, or the reason why it has none."""
    try:
        return scale_of(results)
    except NoScoreError as error:
        return str(error)


def _measured(
    results: Sequence[RunResult], agents: Sequence[str], measure: Measure, figure: Callable[[RunResult], float]
) -> Anchor | None:
    """Return the best of the agents with the most finished seeds; None if none of them finished a run."""
    runs = figures_of([result for result in results if result.settings.agent in agents], figure)
    if not runs:
        return None
    most = max(map(len, runs.values()))
    means = {name: _mean(by_seed, list(by_seed)) for name, by_seed in runs.items() if len(by_seed) == most}
    name = best_of(means, measure)
    return Anchor(name, means[name], runs[name])


def _control_on_card(card: Card) -> Anchor | None:
    name = card.best_control
    return None if name is None else Anchor(name, card.measured[name].mean)


def _optimum_on_card(card: Card) -> Anchor | None:
    name = OPTIMUM if card.optimum is not None else card.oracle or ""
    return None if card.best is None else Anchor(name, card.best)


def _lacking(what: str, agents: Sequence[str], plain: bool) -> str:
    card = "and its card has no figure of one" if plain else "and the card's figures are those of its default arguments"
    return f"there is no finished run of {what} ({', '.join(agents)}), {card}."
