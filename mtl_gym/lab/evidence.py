"""Aggregate statistics of one comparison's scores, as `compare` prints them."""

from __future__ import annotations

from collections.abc import Sequence

from mtl_gym.core.extras import MissingExtraError
from mtl_gym.lab.records import RunResult
from mtl_gym.lab.report.aggregate import NoStatisticsError, align, improvement_of, metrics_of
from mtl_gym.lab.report.tables import lines_of
from mtl_gym.lab.score import Scale
from mtl_gym.lab.statistics import figures_of

TITLE = "Aggregates of the scores, with 95% intervals of a bootstrap over seeds"
LEGEND = (
    "These intervals take the figures of scores 0 and 1 as exact, so they are narrower than Student's above. "
    "Optimality gap: mean shortfall from score 1. Better than: probability that a run is."
)
# Two seeds can be drawn in three ways: their intervals look certain.
FEWEST_SEEDS = 3


def evidence(results: Sequence[RunResult], scale: Scale) -> list[list[str]] | str:
    """Return interquartile mean, mean, optimality gap and probability of improvement of every agent's scores.

    The probability is that of a run of the agent being better than a run of the best control.

    Returns:
        A line per agent, the header first; or the reason why there are no statistics.
    """
    try:
        scores = align({"": scale.scores(results)})
        if len(scores.seeds) < FEWEST_SEEDS:
            return _too_few(results, scores.seeds)
        control = scale.control.name if scale.control.name in scores.values else None
        return lines_of(metrics_of(scores), improvement_of(scores, control), control)
    except (NoStatisticsError, MissingExtraError) as error:
        return str(error)


def _too_few(results: Sequence[RunResult], shared: Sequence[int]) -> str:
    """Return why the statistics lack seeds: the comparison has too few, or agents have not finished all of them."""
    runs = figures_of(results)
    seeds = sorted({seed for by_seed in runs.values() for seed in by_seed})
    if len(seeds) < FEWEST_SEEDS:
        return f"they need {FEWEST_SEEDS} seeds or more (--seeds 5); this comparison has {len(seeds)}."
    lacking = {name: [str(seed) for seed in seeds if seed not in by_seed] for name, by_seed in runs.items()}
    told = "; ".join(f"{name} lacks {', '.join(missing)}" for name, missing in lacking.items() if missing)
    return f"they need {FEWEST_SEEDS} seeds that all agents finished; there are {len(shared)} of {len(seeds)}: {told}."
