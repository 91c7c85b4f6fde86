"""The page about runs under way: summary, learning curves, the pictures in their folders, and states."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mtl_gym.core.measure import Measure
from mtl_gym.lab.curves import Curve, learning_curves
from mtl_gym.lab.pictures import svg_of
from mtl_gym.lab.report.collection import name_of, pictures_in
from mtl_gym.lab.report.document import Block, Drawing, Item, Items, Section, Table
from mtl_gym.lab.watch.folder import DAMAGED, FAILED, FINISHED, STATES, TRAINING, WAITING, RunState

# States in a summary.
TOLD = (FINISHED, TRAINING, WAITING, FAILED, DAMAGED)
# Of runs that do not tell what their figure is.
UNKNOWN = Measure("figure")
CAPTION = (
    "Figures on the validation split so far. A run is evaluated about ten times, so a line begins after a tenth of it."
)
PICTURES = (
    "A run draws its pictures while it trains, the first after ten seconds. A click on a run opens or closes them."
)
NONE_YET = "There is no run here yet, neither in this folder nor in AGENT/seed-N or COMPARISON/AGENT/seed-N."


class Page:
    """Sections of a page, which keeps the drawings of curves that did not change.

    Args:
        folder: Folder of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._drawn: dict[str, tuple[object, Drawing]] = {}

    def sections(self, runs: Sequence[RunState], told: Sequence[str], now: float) -> list[Section]:
        """Return the sections.

        Args:
            runs: States of the runs.
            told: Sentences about the watching itself.
            now: Seconds since 1970.
        """
        head = Section("Now", [summary(runs), *told])
        if not runs:
            return [head]
        by_comparison = self._by_comparison(runs)
        curves = [block for name, those in by_comparison.items() for block in self._curves(name, those)]
        several = len(by_comparison) > 1
        return [
            head,
            Section("Learning curves", curves or ["No run has been evaluated yet."]),
            Section("Pictures", [*self._pictures(by_comparison, several)]),
            Section("Agents", [agents_table(by_comparison, several)]),
            Section("Runs", [runs_table(by_comparison, several, now)]),
        ]

    def _by_comparison(self, runs: Sequence[RunState]) -> dict[str, list[RunState]]:
        """Return the runs by the name of their comparison, in the order given."""
        found: dict[str, list[RunState]] = {}
        for run in runs:
            place = run.folder.parent.parent
            found.setdefault(name_of(self.folder if self.folder in (place, run.folder) else place), []).append(run)
        return found

    def _curves(self, name: str, runs: Sequence[RunState]) -> list[Block]:
        """Return the learning curves of a comparison, and a sentence about runs that are not in them."""
        known = [(run, run.curve) for run in runs if run.curve is not None]
        if not known:
            return []
        state = [(run.folder, run.measure, curve.decisions.tobytes(), curve.figure.tobytes()) for run, curve in known]
        before, drawing = self._drawn.get(name, (None, None))
        kept, odd = _side_by_side(known)
        if drawing is None or state != before:
            title = f"{name}: {known[0][0].env_id}"
            svg = svg_of(learning_curves(kept, title, measure_of_runs(runs)), name)
            drawing = Drawing(svg, f"Learning curves of {name}", CAPTION)
            self._drawn[name] = state, drawing
        return [drawing, *odd]

    def _pictures(self, by_comparison: dict[str, list[RunState]], several: bool) -> Iterable[Block]:
        items = []
        for name, runs in by_comparison.items():
            place = runs[0].folder.parent.parent
            whole = [] if runs[0].folder == self.folder else pictures_in(place)
            items += [Item(f"{name}: {path.stem.replace('_', ' ')}", [path]) for path in whole]
            of = f"{name}, " if several else ""
            drawn = [run for run in runs if run.pictures]
            shown = next((run for run in drawn if run.state == TRAINING), drawn[-1] if drawn else None)
            items += [Item(f"{of}{run.name}, seed {run.seed}", run.pictures, run is shown) for run in drawn]
        return [PICTURES, Items(items)] if items else ["No run has drawn a picture yet."]


def summary(runs: Sequence[RunState]) -> str:
    """Return a sentence with the number of runs in each state and the share of all decisions that are done."""
    if not runs:
        return NONE_YET
    states = Counter(run.state for run in runs)
    counts = ", ".join(f"{states[state]} {state}" for state in TOLD if states[state])
    steps = sum(run.steps or 0 for run in runs)
    done = sum(min(run.decisions, run.steps or 0) for run in runs) / steps if steps else 0.0
    return f"{len(runs)} run{'s' * (len(runs) > 1)}: {counts}; {done:.0%} of the decisions done."


def measure_of_runs(runs: Sequence[RunState]) -> Measure:
    """Return the measure of the runs of one environment."""
    return next((run.measure for run in runs if run.measure is not None), UNKNOWN)


def _side_by_side(runs: Sequence[tuple[RunState, Curve]]) -> tuple[dict[str, list[Curve]], list[str]]:
    """Return the curves by agent, and a sentence about each that was evaluated at other decisions than the longest."""
    curves: dict[str, list[tuple[RunState, Curve]]] = {}
    for run, curve in runs:
        curves.setdefault(run.name, []).append((run, curve))
    kept, odd = {}, []
    for agent, those in curves.items():
        longest = max((curve for _, curve in those), key=len)
        kept[agent] = [curve for _, curve in those if curve.begins(longest)]
        odd += [
            f"{agent}, seed {run.seed} is not drawn: it was evaluated at other decisions than the longest run."
            for run, curve in those
            if not curve.begins(longest)
        ]
    return kept, odd


def agents_table(by_comparison: dict[str, list[RunState]], several: bool) -> Table:
    """Return a line per agent: runs by state, and means of the last validation figures and of the test figures."""
    head = [*["comparison"] * several, "agent", "runs", "finished", "failed", "done", "validation", "test", "measure"]
    lines = [
        [*[name] * several, agent, *_agent_cells([run for run in runs if run.name == agent], measure_of_runs(runs))]
        for name, runs in by_comparison.items()
        for agent in dict.fromkeys(run.name for run in runs)
    ]
    caption = (
        "Means over the runs that have a figure: at the last evaluation on the validation split, and on the test split."
    )
    return Table(caption, [head, *lines])


def _agent_cells(runs: Sequence[RunState], measure: Measure) -> list[str]:
    states = Counter(run.state for run in runs)
    done = np.mean([run.decisions / run.steps if run.steps else 0.0 for run in runs])
    validation = [float(run.curve.figure[-1]) for run in runs if run.curve is not None]
    test = [run.result.figure for run in runs if run.result is not None]
    means = [measure.text(float(np.mean(figures))) if figures else "-" for figures in (validation, test)]
    return [str(len(runs)), str(states[FINISHED]), str(states[FAILED]), f"{done:.0%}", *means, str(measure)]


def runs_table(by_comparison: dict[str, list[RunState]], several: bool, now: float) -> Table:
    """Return a line per run, those that failed first."""
    head = ["agent", "seed", "state", "decisions", "of", "validation", "test", "last wrote", "note"]
    lines = [
        [*[name] * several, *_run_cells(run, now)] for name, runs in by_comparison.items() for run in _by_state(runs)
    ]
    caption = (
        "Decisions and validation figure: at the last evaluation. Last wrote: hours, minutes and seconds since a "
        "file of the run changed."
    )
    return Table(caption, [[*["comparison"] * several, *head], *lines])


def _by_state(runs: Sequence[RunState]) -> list[RunState]:
    return sorted(runs, key=lambda run: STATES.index(run.state))


def _run_cells(run: RunState, now: float) -> list[str]:
    measure = run.measure or UNKNOWN
    validation = measure.text(float(run.curve.figure[-1])) if run.curve else "-"
    test = measure.text(run.result.figure) if run.result else "-"
    steps = "-" if run.steps is None else f"{run.steps:,}"
    since = f"{duration(now - run.wrote)} ago" if run.wrote else "-"
    return [run.name, run.seed, run.state, f"{run.decisions:,}", steps, validation, test, since, run.note]


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds; the clock of a file server may be ahead.

    Example:
        >>> duration(3725.4), duration(-0.5)
        ('1:02:05', '0:00:00')
    """
    minutes, seconds = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def clock(now: float) -> str:
    """Return a time with the zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
