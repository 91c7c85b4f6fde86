"""Sample efficiency: interquartile mean of validation scores over the completed share of training.

Source: Agarwal et al. 2021, section 4.3 (sample efficiency).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtl_gym.lab.curves import Curve, read_curve
from mtl_gym.lab.files import PROGRESS, read_each, there
from mtl_gym.lab.report.aggregate import (
    Floats,
    NoStatisticsError,
    Scores,
    align,
    estimate,
    interquartile_curve,
)
from mtl_gym.lab.report.collection import Comparison, Run
from mtl_gym.lab.score import NoScoreError, scale_of

SHARES = np.linspace(0.05, 1, 20)
# Decisions come in batches, so an evaluation at a tenth of the training may happen slightly later.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Efficiency:
    """Comparable learning curves of agents.

    Attributes:
        scores: Curves of scores by agent, float64 [seeds, comparisons, points].
        shares: Completed share of the training, from 0 to 1; float64 [points].
        curves: Interquartile mean, lower and upper end of its interval, by agent; float64 [3, points].
        damaged: Messages about runs excluded because of damaged progress files.
    """

    scores: Scores
    shares: Floats
    curves: dict[str, Floats]
    damaged: list[str]


def efficiency_of(comparisons: Sequence[Comparison]) -> Efficiency:
    """Return the learning curves of all runs with a progress file.

    Scores 0 and 1 are the final validation figures of the best control and of the oracle.

    Raises:
        NoStatisticsError: If the runs have no comparable curves.
    """
    damaged: list[str] = []
    curves = {comparison.name: _curves(comparison.runs, damaged) for comparison in comparisons}
    for name, runs in curves.items():
        if not runs:
            raise NoStatisticsError(
                " ".join([f"no run of {name} has a {PROGRESS} with several evaluations.", *damaged])
            )
    shares = _shares([shared for runs in curves.values() for shared in runs.values()])
    scores = {comparison.name: _scores(comparison, curves[comparison.name], shares) for comparison in comparisons}
    aligned = align(scores)
    found = {agent: estimate(values, interquartile_curve) for agent, values in aligned.values.items()}
    return Efficiency(aligned, shares, found, damaged)


def _curves(runs: Sequence[Run], damaged: list[str]) -> dict[tuple[str, int], tuple[Floats, Floats]]:
    """Return share of training and figure per evaluation, by agent and seed, of runs with several evaluations."""
    known = {run.folder: run.result.settings for run in runs if there(run.folder / PROGRESS)}
    curves = read_each(known, lambda folder: read_curve(folder / PROGRESS), damaged.append)
    return {
        (known[folder].name, known[folder].seed): (_share(curve, known[folder].steps), curve.figure)
        for folder, curve in curves.items()
        if len(curve.decisions) > 1
    }


def _share(curve: Curve, steps: int) -> Floats:
    return np.asarray(curve.decisions / steps, np.float64)


def _shares(curves: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return the points between the first and the last evaluation of every run."""
    first, last = max(share[0] for share, _ in curves), min(share[-1] for share, _ in curves)
    shares = SHARES[(first - TOLERANCE <= SHARES) & (last + TOLERANCE >= SHARES)]
    if len(shares) < 2:
        raise NoStatisticsError(f"its runs were evaluated in different parts of their training (see {PROGRESS}).")
    return shares


def _scores(
    comparison: Comparison, curves: dict[tuple[str, int], tuple[Floats, Floats]], shares: Floats
) -> dict[tuple[str, int], float | Floats]:
    final = {key: float(figure[-1]) for key, (_, figure) in curves.items()}
    known = {(result.settings.name, result.settings.seed): result for result in comparison.results}
    try:
        scale = scale_of(
            [known[key] for key in curves], lambda result: final[result.settings.name, result.settings.seed]
        )
    except NoScoreError as error:
        raise NoStatisticsError(f"among the runs of {comparison.name} with several evaluations, {error}") from error
    return {key: scale(np.interp(shares, *curve)) for key, curve in curves.items()}
