"""Tables of a report and their notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtl_gym.lab.compare import Row, summarise, table
from mtl_gym.lab.report.aggregate import TOO_FEW_TO_CUT, Estimate, Scale, Scores, Statistics
from mtl_gym.lab.report.collection import Comparison
from mtl_gym.lab.report.document import Table
from mtl_gym.lab.statistics import Difference, differences


def headlines(lines: Sequence[list[str]]) -> Table:
    """Return the headline table, a line per comparison."""
    head = ["comparison", "best agent", "accuracy in %", "minus control", "control", "its accuracy", "above", "below"]
    caption = (
        "Test accuracy: mean over tasks and seeds ± standard deviation over seeds. Minus control: difference in "
        "percentage points, paired by seed, with Student's 95% interval. Above, below: number of agents whose interval "
        "lies entirely above or below the control."
    )
    return Table(caption, [head, *lines])


def scale_notes(scales: Mapping[str, Scale]) -> list[str]:
    """Return sentences that define scores 0 and 1."""
    notes = []
    for scale in scales.values():
        notes.append(
            f"A normalised score of 0 is random ({100 * scale.random:.2f} %), 1 is {scale.baseline}, the best static "
            f"baseline ({100 * scale.best:.2f} %): {scale.points:.2f} percentage points."
        )
        if scale.narrow:
            notes.append("The two are so close together that normalised scores are mostly chance: read the accuracies.")
    return notes


def headline(comparison: Comparison, control: str) -> list[str]:
    """Return the headline of a comparison: its best agent and the difference to the control."""
    rows = {row.agent: row for row in summarise(comparison.results)}
    best, base = next(iter(rows.values())), rows.get(control)
    apart = {difference.agent: difference for difference in differences(comparison.results, control)}
    minus = "is the control" if best is base else apart[best.agent].interval if best.agent in apart else "-"
    above = sum(difference.low > 0 for difference in apart.values())
    below = sum(difference.high < 0 for difference in apart.values())
    counts = [f"{count} of {len(apart)}" if base else "-" for count in (above, below)]
    return [comparison.name, best.agent, _percent(best), minus, control, _percent(base) if base else "-", *counts]


def _percent(row: Row) -> str:
    return f"{row.accuracy:.2f}" + (f" ± {row.spread:.2f}" if row.seeds > 1 else "")


def accuracies(comparison: Comparison, control: str, scale: Scale | None) -> Table:
    """Return the table of `compare` extended by differences to the control and normalised means."""
    rows = summarise(comparison.results)
    apart = {difference.agent: difference for difference in differences(comparison.results, control)}
    more = [[f"minus {control}", "normalised", "seeds"], *(_beside(row, apart, scale) for row in rows)]
    lines = [[*line[:2], *cells, *line[2:]] for line, cells in zip(table(rows), more, strict=True)]
    caption = (
        "Test accuracy in %, mean over tasks and seeds ± standard deviation over seeds; difference to the control in "
        "percentage points, paired by seed, with Student's 95% interval; normalised mean."
    )
    return Table(caption, lines)


def _beside(row: Row, apart: Mapping[str, Difference], scale: Scale | None) -> list[str]:
    minus = apart[row.agent].interval if row.agent in apart else "-"
    return [minus, "-" if scale is None else str(Estimate(float(scale(row.accuracy / 100)))), str(row.seeds)]


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
    head = ["agent", *statistics.metrics]
    lines = [[agent, *(str(of[agent]) for of in statistics.metrics.values())] for agent in statistics.ranking]
    if statistics.improvement:
        head.append(f"better than {statistics.control}")
        for line in lines:
            line.append(str(statistics.improvement.get(line[0], "-")))
    return Table("Normalised scores with 95% intervals of a stratified bootstrap over seeds.", [head, *lines])
