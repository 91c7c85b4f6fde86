"""Sections of a report and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.lab.environments import is_benchmark
from mtl_gym.lab.files import PROGRESS
from mtl_gym.lab.pictures import svg_of, write_picture
from mtl_gym.lab.report import figures, tables
from mtl_gym.lab.report.aggregate import (
    NoStatisticsError,
    Scores,
    align,
    statistics_of,
)
from mtl_gym.lab.report.collection import Comparison, Run
from mtl_gym.lab.report.document import Block, Item, Items, Picture, Section
from mtl_gym.lab.report.efficiency import efficiency_of
from mtl_gym.lab.score import Scale, scale_or_reason
from mtl_gym.lab.statistics import Estimate, default_control, differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = "figures"
BENCHMARKS = "Benchmarks, whose best decision is known:"
REPLICATIONS = "Replications, whose best decision is unknown; they have no score:"
CAPTIONS = {
    "differences": (
        "Differences to the control",
        "Figure minus that of the control. Dot: mean over the shared seeds; bar: Student's 95% interval. A bar that "
        "crosses 0 does not decide which of the two is better.",
    ),
    "metrics": (
        "Aggregate scores",
        "Scores; bar: 95% interval of a stratified bootstrap over seeds. The interquartile mean drops the "
        "lowest and the highest quarter of all runs; of the optimality gap, less is better. Values outside an axis are "
        "labelled at its edge.",
    ),
    "profiles": (
        "Performance profiles",
        "Share of an agent's runs above each score, with 95% interval. The further right a line falls, the better; a "
        "line above another at every score is better throughout.",
    ),
    "improvement": (
        "Probability of improvement",
        "Probability that a run of the agent is better than a run of the control, mean over comparisons, with 95% "
        "interval; at 0.5 neither is better.",
    ),
    "efficiency": (
        "Sample efficiency",
        "Interquartile mean of the score on the validation split over the share of the training done, with 95% "
        "interval.",
    ),
}


@dataclass(frozen=True)
class Scope:
    """Subject of one set of statistics.

    Attributes:
        title: Title of the pictures.
        stem: Prefix of the pictures' file names.
        comparisons: One or more comparisons.
        scales: Scale of each comparison.
        control: Reference agent.
    """

    title: str
    stem: str
    comparisons: Sequence[Comparison]
    scales: Sequence[Scale]
    control: str

    def scores(self) -> Scores:
        """Return the scores of all runs on the test split."""
        pairs = zip(self.comparisons, self.scales, strict=True)
        return align({comparison.name: scale.scores(comparison.results) for comparison, scale in pairs})


@dataclass(frozen=True)
class Author:
    """Writer of the sections and their pictures.

    Attributes:
        folder: Folder of the runs.
        control: Reference agent; None for the environment's default control.
        out: Folder of the report; None for `folder`.
    """

    folder: Path
    control: str | None = None
    out: Path | None = None

    def control_of(self, names: Sequence[str], env_id: str) -> str:
        """Return the reference agent."""
        return self.control or default_control(names, env_id)

    def headline(self, comparisons: Sequence[Comparison]) -> Section:
        """Return the best agent of every comparison with its difference to the control."""
        finished = [comparison for comparison in comparisons if comparison.runs]
        failures = sum(len(comparison.failures) for comparison in comparisons)
        runs = sum(len(comparison.runs) for comparison in comparisons)
        told = f"{runs} finished runs in {len(comparisons)} comparison{'s' * (len(comparisons) > 1)}."
        failed = [f"{failures} more failed or did not finish; they are listed at the end."] * bool(failures)
        blocks: list[Block] = [" ".join([told, *failed])]
        benchmarks = [comparison for comparison in finished if is_benchmark(comparison.env_id)]
        replications = [comparison for comparison in finished if comparison not in benchmarks]
        for kind, those in {BENCHMARKS: benchmarks, REPLICATIONS: replications}.items():
            lines = [tables.headline(each, self.control_of(each.agents, each.env_id)) for each in those]
            blocks += [kind, tables.headlines(lines)] if lines else []
        return Section("Headline", blocks)

    def across(self, comparisons: Sequence[Comparison]) -> Section:
        """Return statistics over all comparisons with scores that are not mostly chance."""
        scales, reasons = _scales(comparisons)
        reasons |= {name: f"{tables.NARROW}." for name, scale in scales.items() if scale.narrow}
        scales = {name: scale for name, scale in scales.items() if not scale.narrow}
        kept = [comparison for comparison in comparisons if comparison.name in scales]
        blocks: list[Block] = [f"{name} is excluded: {reason}" for name, reason in reasons.items()]
        names = [name for name in (kept[0].agents if kept else []) if all(name in other.agents for other in kept)]
        title = f"Across {', '.join(comparison.name for comparison in kept)}"
        if len(kept) < 2 or not names:
            return Section(
                "Across comparisons",
                [*blocks, "Fewer than two comparisons with a shared agent have scores."],
            )
        scope = Scope(title, "across", kept, list(scales.values()), self.control_of(names, kept[0].env_id))
        return Section("Across comparisons", [*blocks, *self._statistics(scope)])

    def comparison(self, comparison: Comparison) -> Section:
        """Return the table, the statistics and the pictures of one comparison."""
        if not comparison.runs:
            return Section(comparison.name, ["No run of this comparison finished."])
        control = self.control_of(comparison.agents, comparison.env_id)
        scales, reasons = _scales([comparison])
        blocks: list[Block] = [
            f"Environment: {comparison.env_id}. Control: {control}.",
            *(note for scale in scales.values() for note in tables.scale_notes(scale, comparison.measure)),
        ]
        blocks += [f"There are no scores: {reason}" for reason in reasons.values()]
        blocks.append(tables.figures_table(comparison, control))
        title = f"{comparison.name}: {comparison.env_id}"
        blocks += self._differences(comparison, control, title)
        if scales:
            scope = Scope(title, comparison.name, [comparison], list(scales.values()), control)
            blocks += self._statistics(scope)
        blocks += _pictures(comparison)
        return Section(comparison.name, blocks)

    def _differences(self, comparison: Comparison, control: str, title: str) -> list[Block]:
        if control not in comparison.agents:
            return [f"No differences: {control} has no finished run."]
        apart = differences(comparison.results, control)
        if not apart:
            return [f"No differences: no other agent has a finished run with a seed of {control}."]
        estimates = {
            difference.agent: Estimate(difference.mean, difference.low, difference.high) for difference in apart
        }
        figure = figures.draw_differences(estimates, control, comparison.measure, title)
        return [self._picture(figure, comparison.name, "differences")]

    def _statistics(self, scope: Scope) -> list[Block]:
        try:
            statistics = statistics_of(scope.scores(), scope.control)
        except NoStatisticsError as error:
            return [f"There are no statistics of scores: {error}"]
        scores, stem, title = statistics.scores, scope.stem, scope.title
        blocks: list[Block] = [tables.scores_note(scores), tables.statistics_table(statistics)]
        blocks.append(self._picture(figures.draw_metrics(statistics, title), stem, "metrics"))
        blocks.append(self._picture(figures.draw_profiles(statistics, title), stem, "profiles"))
        if statistics.improvement:
            blocks.append(self._picture(figures.draw_improvement(statistics, title), stem, "improvement"))
        else:
            blocks.append(f"No probability of improvement: it needs runs of {scope.control} and of another agent.")
        return [*blocks, *self._efficiency(scope, list(scores.values))]

    def _efficiency(self, scope: Scope, agents: Sequence[str]) -> list[Block]:
        try:
            efficiency = efficiency_of(scope.comparisons)
        except NoStatisticsError as error:
            return [f"There are no curves of sample efficiency: {self._without_folder(str(error))}"]
        damaged = [f"Excluded from the curves: {self._without_folder(why)}" for why in efficiency.damaged]
        without = ", ".join(agent for agent in agents if agent not in efficiency.curves)
        note = f"{tables.seeds_of(efficiency.scores)} in the curves of sample efficiency."
        note += f" Without curves in {PROGRESS}: {without}." if without else ""
        picture = self._picture(figures.draw_efficiency(efficiency, scope.title), scope.stem, "efficiency")
        return [note, *damaged, picture]

    def _without_folder(self, sentence: str) -> str:
        return sentence.replace(f"{self.folder}/", "")

    def _picture(self, figure: Figure, stem: str, kind: str) -> Picture:
        path = (self.out or self.folder) / FIGURES / f"{stem}-{kind}.png"
        write_picture(figure, path)
        write_atomically(path.with_suffix(".svg"), lambda file: file.write(svg_of(figure, path.stem)))
        return Picture(path, *CAPTIONS[kind])


def _scales(comparisons: Sequence[Comparison]) -> tuple[dict[str, Scale], dict[str, str]]:
    """Return the scale of each comparison and, where there is none, the reason; both by name."""
    found = {comparison.name: scale_or_reason(comparison.results) for comparison in comparisons}
    scales = {name: scale for name, scale in found.items() if isinstance(scale, Scale)}
    return scales, {name: reason for name, reason in found.items() if isinstance(reason, str)}


def _pictures(comparison: Comparison) -> list[Block]:
    whole = [Item(f"{comparison.name}: {path.stem.replace('_', ' ')}", [path]) for path in comparison.pictures]
    return ["Pictures of the runs:", Items([*whole, *map(_item, comparison.runs)])]


def _item(run: Run) -> Item:
    settings, measure = run.result.settings, run.result.measure
    told = f"{measure.name} {measure.text(run.result.figure)} {measure.unit}".rstrip()
    return Item(f"{settings.name}, seed {settings.seed}: {told}", run.pictures)
