"""Tables of the leaderboard, from its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtl_gym.core.measure import Measure
from mtl_gym.lab.agents import role_of
from mtl_gym.lab.environments import measure_of
from mtl_gym.lab.leaderboard.entries import Entry
from mtl_gym.lab.records import RunResult
from mtl_gym.lab.references import RANDOM, UNTRAINED
from mtl_gym.lab.report.aggregate import align, improvement_of, metrics_of
from mtl_gym.lab.report.tables import lines_of
from mtl_gym.lab.score import Scale, scale_of
from mtl_gym.lab.sheets import markdown_table
from mtl_gym.lab.statistics import figures_of
from mtl_gym.registration import SB3, Card, card, registered_ids

Lines = list[list[str]]
# Number of seeds of an entry: 0, 1, ...
SEEDS = 10


@dataclass(frozen=True)
class Board:
    """The entries of an environment.

    Attributes:
        env: The id.
        entries: Its entries.
        measure: Unit and direction of its figures.
    """

    env: str
    entries: Sequence[Entry]
    measure: Measure

    @property
    def results(self) -> list[RunResult]:
        """Runs of all entries."""
        return [result for entry in self.entries for result in entry.results(self.measure)]

    @property
    def scale(self) -> Scale:
        """Scale of the scores.

        Raises:
            NoScoreError: If the oracle or every control is missing.
        """
        return scale_of(self.results)

    @property
    def algorithms(self) -> list[str]:
        """Names of the entries that are neither oracle, control nor reference."""
        return [entry.name for entry in self.entries if kind_of(entry) not in ("oracle", "control", "reference")]

    def table(self) -> Lines:
        """Return a line per entry, the best interquartile mean first; the first line is the header."""
        scale, scores = self.scale, align({self.env: self.scale.scores(self.results)})
        head, *body = lines_of(metrics_of(scores), improvement_of(scores, scale.control.name), scale.control.name)
        runs, known = figures_of(self.results), {entry.name: entry for entry in self.entries}
        mean = head.index("mean")
        lines = [["agent", "kind", str(self.measure), "score", head[1], *head[mean + 1 :], "sampled", "CPU s"]]
        for name, *cells in body:
            entry, score = known[name], str(scale.estimate(runs[name]))
            own = [name, kind_of(entry), self._text(list(runs[name].values())), score, cells[0], *cells[mean:]]
            lines.append([*own, self._sampled(entry), f"{entry.cpu_seconds:.1f}"])
        return lines

    def _text(self, figures: Sequence[float]) -> str:
        spread = f" ± {self.measure.text(float(np.std(figures, ddof=1)))}" if len(figures) > 1 else ""
        return self.measure.text(float(np.mean(figures))) + spread

    def _sampled(self, entry: Entry) -> str:
        figures = [run.sampled for run in entry.seeds.values() if run.sampled is not None]
        return self.measure.text(float(np.mean(figures))) if figures else "-"


def kind_of(entry: Entry) -> str:
    """Return "oracle", "control", "reference", "SB3", "other" (of another package), "rule" or "learner"."""
    found: Card = card(entry.env)
    if entry.name in (RANDOM, UNTRAINED):
        return "reference"
    if entry.agent in (found.oracle, *found.controls):
        return "oracle" if entry.agent == found.oracle else "control"
    return "other" if entry.requires else "SB3" if entry.agent in SB3 else role_of(entry.agent)


def markdown(entries: Sequence[Entry]) -> str:
    """Return the tables of all entries as Markdown."""
    found = boards(entries)
    if not found:
        return "There are no entries yet."
    parts = ["### Scores", markdown_table(matrix(found)), "### Across all ids", markdown_table(across(found))]
    for board in found:
        parts += [f"### {board.env}", board.scale.sentence(board.measure), markdown_table(board.table())]
    return "\n\n".join(part.strip() for part in parts)


def boards(entries: Sequence[Entry]) -> list[Board]:
    """Return the boards of all environments with a card, in the order of registration.

    Raises:
        ValueError: If an entry has other seeds, or another environment or length, than the others of its id.
    """
    for entry in entries:
        refuse_incomparable(entry)
    ids = [env for env in registered_ids() if any(entry.env == env for entry in entries)]
    return [Board(env, [entry for entry in entries if entry.env == env], measure_of(env)) for env in ids]


def refuse_incomparable(entry: Entry) -> None:
    """Refuse an entry whose figures cannot stand beside those of its id.

    Raises:
        ValueError: If it lacks a seed, or its environment or length is not that of the card.
    """
    found = card(entry.env)
    wanted = {"steps": found.steps, "num_envs": found.num_envs, "env_kwargs": {}}
    for name, value in wanted.items():
        if getattr(entry, name) != value:
            told = f"{name}={getattr(entry, name)}"
            raise ValueError(f"The entry {entry.name} of {entry.env} has {told}; the leaderboard has {value}.")
    missing = sorted(set(range(SEEDS)) - set(entry.seeds))
    if missing:
        raise ValueError(f"The entry {entry.name} of {entry.env} lacks the seeds {missing}; it takes 0 to {SEEDS - 1}.")


def matrix(found: Sequence[Board]) -> Lines:
    """Return the mean score of every algorithm on every environment.

    Algorithms on more environments come first, among them those with a better mean; the first line is the header.
    """
    names = sorted({name for board in found for name in board.algorithms})
    columns = [_means(board) for board in found]
    scores = {name: [means[name] for means in columns if name in means] for name in names}
    names.sort(key=lambda name: (-len(scores[name]), -float(np.mean(scores[name]))))
    rows = [[name, *(f"{means[name]:.2f}" if name in means else "-" for means in columns)] for name in names]
    return [["agent", *(board.env for board in found)], *rows]


def _means(board: Board) -> dict[str, float]:
    runs = figures_of(board.results)
    return {name: board.scale.estimate(runs[name]).value for name in board.algorithms}


def across(found: Sequence[Board]) -> Lines:
    """Return aggregate scores of the algorithms that are on every board; the first line is the header.

    Raises:
        NoStatisticsError: If no algorithm is on every board.
    """
    shared = set.intersection(*(set(board.algorithms) for board in found))
    runs = {
        board.env: board.scale.scores(result for result in board.results if result.settings.name in shared)
        for board in found
    }
    return lines_of(metrics_of(align(runs)), {}, None)
