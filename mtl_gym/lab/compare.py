"""Comparisons of agents on one environment: planning of the runs, summary tables and result files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from mtl_gym.core.measure import Measure
from mtl_gym.lab.agents import find_agent
from mtl_gym.lab.environments import spec_of
from mtl_gym.lab.records import RunResult, RunSettings
from mtl_gym.lab.score import Scale, scale_or_reason
from mtl_gym.lab.sheets import write_csv, write_markdown
from mtl_gym.lab.statistics import Difference, Estimate

# Maximum number of seeds per agent; a larger one is a typing error whose list of runs would exhaust the memory.
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Row:
    """A table line about one agent, on the test split.

    Attributes:
        agent: Name of the agent.
        measure: Name, unit and direction of the figure.
        seeds: Number of finished runs.
        figure: Mean over seeds.
        spread: Standard deviation over seeds (n - 1); NaN for one seed.
        score: Score between the best control (0) and the optimum (1); None without a scale.
        sampled: Mean figure of sampled actions; NaN for an agent that was not evaluated so.
        worst: Name and accuracy in per cent of the task with the lowest mean over seeds.
        best: Name and accuracy in per cent of the task with the highest mean over seeds.
        blocks: Mean number of blocks used; NaN in environments without blocks.
        epochs: Passes over the training data.
        speed: Mean training samples per second.
        f1: Mean F1 in per cent, by task that has one.
    """

    agent: str
    measure: Measure
    seeds: int
    figure: float
    spread: float
    score: Estimate | None
    sampled: float
    worst: tuple[str, float]
    best: tuple[str, float]
    blocks: float
    epochs: float
    speed: float
    f1: dict[str, float] = field(default_factory=dict)


def plan(base: RunSettings, agents: Sequence[str], seeds: int, first: int = 0) -> list[RunSettings]:
    """Return all runs of a comparison, the first seed of every agent before any second seed.

    Raises:
        UnknownAgentError: If an agent is unknown.
        gymnasium.error.Error: If an environment is unknown.
        ValueError: If the number of seeds is out of range, or an agent is named twice.
    """
    return plan_entries([replace(base, agent=name, name=name) for name in agents], seeds, first)


def plan_entries(entries: Sequence[RunSettings], seeds: int, first: int = 0) -> list[RunSettings]:
    """Return all runs of a comparison of entries, which may differ in more than the agent; see `plan`.

    Args:
        entries: Settings of one run each.
        seeds: Number of seeds.
        first: Smallest seed; the others follow it.
    """
    names = [entry.name for entry in entries]
    if not 1 <= seeds <= MOST_SEEDS or len(set(names)) != len(names):
        raise ValueError(f"A comparison takes 1 to {MOST_SEEDS} seeds (not {seeds}) and each agent once ({names}).")
    for entry in entries:
        spec_of(entry.env_id)  # a module of `module:id` may register agents
        find_agent(entry.agent)
    return [replace(entry, seed=seed) for seed in range(first, first + seeds) for entry in entries]


def summarise(results: Sequence[RunResult]) -> list[Row]:
    """Return one line per agent, the best first."""
    names = dict.fromkeys(result.settings.name for result in results)
    scale = scale_or_reason(results)
    rows = [_row([result for result in results if result.settings.name == name], scale) for name in names]
    return sorted(rows, key=lambda row: -row.figure if row.measure.higher else row.figure)


def _row(results: list[RunResult], scale: Scale | str) -> Row:
    runs = {result.settings.seed: result.figure for result in results}
    figures = list(runs.values())
    tasks = {name: float(np.mean([r.per_task[name] for r in results])) * 100 for name in results[0].per_task}
    blocks = [result.blocks_used for result in results if result.blocks_used is not None]
    sampled = [result.sampled for result in results if result.sampled is not None]
    return Row(
        agent=results[0].settings.name,
        measure=results[0].measure,
        seeds=len(results),
        figure=float(np.mean(figures)),
        spread=float(np.std(figures, ddof=1)) if len(results) > 1 else float("nan"),
        score=scale.estimate(runs) if isinstance(scale, Scale) else None,
        sampled=float(np.mean(sampled)) if sampled else float("nan"),
        worst=min(tasks.items(), key=lambda item: item[1]),
        best=max(tasks.items(), key=lambda item: item[1]),
        blocks=float(np.mean(blocks)) if blocks else float("nan"),
        epochs=float(np.mean([result.epochs for result in results])),
        speed=float(np.mean([result.samples_per_second for result in results])),
        f1={name: float(np.mean([r.f1[name] for r in results])) * 100 for name in _shared(r.f1 for r in results)},
    )


def _shared(scores: Iterable[Mapping[str, float]]) -> list[str]:
    first, *others = scores
    return [name for name in first if all(name in other for other in others)]


COLUMNS = ("score", "sampled", "worst task", "best task", "F1", "blocks", "epochs", "samples/s")


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table as text, header first, without empty columns."""
    columns = zip(("agent", str(rows[0].measure), *COLUMNS), *map(_cells, rows), strict=True)
    filled = [column for column in columns if any(cell != "-" for cell in column[1:])]
    return [list(line) for line in zip(*filled, strict=True)]


def _cells(row: Row) -> tuple[str, ...]:
    score = "-" if row.score is None else str(row.score)
    sampled = "-" if np.isnan(row.sampled) else row.measure.text(row.sampled)
    blocks = "-" if np.isnan(row.blocks) else f"{row.blocks:.0f}"
    f1 = ", ".join(f"{value:.1f} {name}" for name, value in row.f1.items()) or "-"
    # Accuracies of tasks say little beside a figure that is no accuracy.
    tasks = [f"{percent:.1f} {name}" if row.measure.unit == "%" else "-" for name, percent in (row.worst, row.best)]
    return row.agent, figure_of(row), score, sampled, *tasks, f1, blocks, f"{row.epochs:.1f}", f"{row.speed:,.0f}"


def figure_of(row: Row) -> str:
    """Return the figure of a row with its standard deviation, as text."""
    mean, spread = row.measure.text(row.figure), row.measure.text(row.spread)
    return f"{mean} ± {spread}" if row.seeds > 1 else mean


def write_table(rows: Sequence[Row], path: Path, apart: Sequence[Difference] = (), control: str = "") -> None:
    """Write the table as Markdown, with a column of differences to the control if there are any."""
    minus = {difference.agent: difference.interval for difference in apart}
    head, *body = table(rows)
    lines = [head, *body]
    if minus:
        column = [f"minus {control}", *(minus.get(row.agent, "") for row in rows)]
        for line, cell in zip(lines, column, strict=True):
            line.insert(2, cell)
    write_markdown(lines, path)


def write_results(results: Sequence[RunResult], path: Path) -> None:
    """Write one CSV line per run, with the accuracy of every task."""
    write_csv([line_of(result) for result in results], path)


def line_of(result: RunResult) -> dict[str, object]:
    """Return a run as a line of `results.csv`."""
    settings = {key: value for key, value in asdict(result.settings).items() if not key.endswith("kwargs")}
    figures = {
        key: getattr(result, key)
        for key in ("figure", "sampled", "accuracy", "loss", "blocks_used", "epochs", "samples_per_second")
    }
    f1 = {f"f1/{name}": value for name, value in result.f1.items()}
    return settings | figures | {f"accuracy/{name}": value for name, value in result.per_task.items()} | f1
