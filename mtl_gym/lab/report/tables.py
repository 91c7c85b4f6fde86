"""Tables of a report and their notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtl_gym.core.measure import Measure
from mtl_gym.lab.compare import figure_of, summarise, table
from mtl_gym.lab.report.aggregate import TOO_FEW_TO_CUT, Scores, Statistics, ranking
from mtl_gym.lab.report.collection import Comparison
from mtl_gym.lab.report.document import Table
from mtl_gym.lab.score import Scale
from mtl_gym.lab.statistics import Estimate, differences

NARROW = "the 95% interval of the distance between optimum and best control contains 0"


def headlines(lines: Sequence[list[str]]) -> Table:
    """Return a headline table, a line per comparison."""
    head = [
        "comparison",
        "measure",
        "best agent",
        "figure",
        "minus control",
        "control",
        "its figure",
        "better",
        "worse",
    ]
    caption = (
        "Figures on the test split: mean over seeds ± standard deviation over seeds. Minus control: difference paired "
        "by seed, with Student's 95% interval. Better, worse: number of agents whose interval lies entirely on the "
        "better or on the worse side of the control."
    )
    return Table(caption, [head, *lines])


def scale_notes(scale: Scale, measure: Measure) -> list[str]:
    """Return sentences that define scores 0 and 1."""
    notes = [scale.sentence(measure)]
    if scale.narrow:
        notes.append(f"{NARROW.capitalize()}, so scores are mostly chance: read the figures.")
    return notes


def headline(comparison: Comparison, control: str) -> list[str]:
    """Return the headline of a comparison: its best agent and the difference to the control."""
    rows = {row.agent: row for row in summarise(comparison.results)}
    best, base = next(iter(rows.values())), rows.get(control)
    apart = {difference.agent: difference for difference in differences(comparison.results, control)}
    minus = "is the control" if best is base else apart[best.agent].interval if best.agent in apart else "-"
    better = sum(difference.better for difference in apart.values())
    worse = sum(difference.worse for difference in apart.values())
    counts = [f"{count} of {len(apart)}" if base else "-" for count in (better, worse)]
    figures = [figure_of(best), minus, control, figure_of(base) if base else "-"]
    return [comparison.name, str(best.measure), best.agent, *figures, *counts]


def figures_table(comparison: Comparison, control: str) -> Table:
    """Return the table of `compare` extended by differences to the control and the number of seeds."""
    rows = summarise(comparison.results)
    apart = {difference.agent: difference.interval for difference in differences(comparison.results, control)}
    more = [[f"minus {control}", "seeds"], *([apart.get(row.agent, "-"), str(row.seeds)] for row in rows)]
    lines = [[*line[:2], *cells, *line[2:]] for line, cells in zip(table(rows), more, strict=True)]
    caption = (
        "Figures on the test split, mean over seeds ± standard deviation over seeds; difference to the control, paired "
        "by seed, with Student's 95% interval; score with the same interval; sampled: figure of a policy whose actions "
        "are drawn from its probabilities."
    )
    return Table(caption, lines)


def seeds_of(scores: Scores) -> str:
    """Return the seeds of scores as text."""
    return f"Seed{'s' * (len(scores.seeds) > 1)} {', '.join(map(str, scores.seeds))}"


def scores_note(scores: Scores) -> str:
    """Return a note on the runs behind the statistics and the limits of small samples."""
    notes = [f"{seeds_of(scores)}: finished by every agent in {_joined(scores.comparisons)}."]
    if scores.left_out:
        notes.append(f"Excluded because not in every comparison: {', '.join(scores.left_out)}.")
    if len(scores.seeds) == 1:
        notes.append("One seed: no interval.")
    if len(scores.seeds) * len(scores.comparisons) <= TOO_FEW_TO_CUT:
        notes.append("With three scores or fewer nothing is trimmed: the interquartile mean is the mean.")
    return " ".join(notes)


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def statistics_table(statistics: Statistics) -> Table:
    """Return a table of every metric for every agent."""
    lines = lines_of(statistics.metrics, statistics.improvement, statistics.control)
    return Table("Scores with 95% intervals of a stratified bootstrap over seeds.", lines)


def lines_of(
    metrics: Mapping[str, Mapping[str, Estimate]], improvement: Mapping[str, Estimate], control: str | None
) -> list[list[str]]:
    """Return a line per agent, the best interquartile mean first; the first line is the header."""
    head = ["agent", *metrics]
    lines = [[agent, *(str(of[agent]) for of in metrics.values())] for agent in ranking(metrics)]
    if improvement:
        head.append(f"better than {control}")
        for line in lines:
            line.append(str(improvement.get(line[0], "-")))
    return [head, *lines]
