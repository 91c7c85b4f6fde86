"""Tables and files of the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.lab.compare import Row, figure_of
from mtl_gym.lab.gate.judgement import LINES, Judgement
from mtl_gym.lab.parsing import parse_json, read_text
from mtl_gym.lab.sheets import markdown_table

Lines = list[list[str]]
SUMMARY = [
    *("environment", "optimum", "best control", "best learner", "score", "CPU s"),
    *(str(number + 1) for number in range(len(LINES))),
    "tiers",
]


def table_of_agents(judgement: Judgement) -> Lines:
    """Return the table of an id, a line per agent; the first line is the header."""
    head = ["agent", str(judgement.rows[0].measure), "score", "sampled", "CPU s"]
    return [head, *(_agent(row, judgement) for row in judgement.rows)]


def _agent(row: Row, judgement: Judgement) -> list[str]:
    sampled = "-" if np.isnan(row.sampled) else row.measure.text(row.sampled)
    score = "-" if row.score is None else str(row.score)
    return [row.agent, figure_of(row), score, sampled, f"{judgement.cpu_seconds[row.agent]:.1f}"]


def summary(judgements: Sequence[Judgement]) -> Lines:
    """Return the table of all ids; the first line is the header."""
    return [SUMMARY, *map(_id, judgements)]


def _id(judgement: Judgement) -> list[str]:
    optimum, control, learner = (
        judgement.row(name) for name in (judgement.oracle, judgement.control, judgement.learner)
    )
    named = [f"{figure_of(row)} {row.agent}" if row else "-" for row in (control, learner)]
    score = f"{learner.score.value:.2f}" if learner and learner.score else "-"
    seconds = f"{max(judgement.cpu_seconds.values()):.1f}"
    lines = ["yes" if holds else "no" for holds in judgement.lines]
    best = figure_of(optimum) if optimum else "-"
    return [judgement.env_id, best, *named, score, seconds, *lines, str(len(judgement.tiers))]


def notes(judgement: Judgement) -> list[str]:
    """Return sentences on the distances at all lengths, and on the tiers."""
    lengths = ", ".join(f"{text}{' at ' * bool(name)}{name}" for name, text in judgement.distances.items())
    ranked = " > ".join(", ".join(members) for members in judgement.tiers) or "none"
    return [f"Oracle minus best control: {lengths}.", f"Tiers of stock algorithms: {ranked}."]


def write_markdown(judgements: Sequence[Judgement], failures: Sequence[str], path: Path) -> None:
    """Write the summary, the lines of the gate, the table of every id, and the failures."""
    parts = ["# Gate", markdown_table(summary(judgements))]
    parts.append("\n".join(f"{number}. {line}" for number, line in enumerate(LINES, 1)))
    for judgement in judgements:
        parts += [f"## {judgement.env_id}", markdown_table(table_of_agents(judgement)), " ".join(notes(judgement))]
    if failures:
        parts += ["## Runs that failed", "\n".join(f"- {failure}" for failure in failures)]
    text = "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(judgements: Sequence[Judgement], failures: Sequence[str], path: Path) -> None:
    """Write all figures as JSON."""
    value = {"ids": {judgement.env_id: _plain(judgement) for judgement in judgements}, "failures": list(failures)}
    _write(value, path)


def _plain(judgement: Judgement) -> dict[str, object]:
    agents = {row.agent: asdict(row) | {"cpu_seconds": judgement.cpu_seconds[row.agent]} for row in judgement.rows}
    lines = dict(zip(LINES, judgement.lines, strict=True))
    return {"agents": agents, "lines": lines, "tiers": judgement.tiers, "distances": judgement.distances}


def write_measured(judgements: Sequence[Judgement], path: Path) -> None:
    """Replace the figures of ids in a file of measured figures, which cards read.

    Args:
        judgements: Judgements of the ids.
        path: The file: `mean`, `spread`, `seeds` and `steps` by id and agent; made if it does not exist.

    Raises:
        ValueError: If the file is not JSON, or an agent has one seed only.
    """
    known = parse_json(read_text(path), str(path)) if path.exists() else {}
    if not isinstance(known, dict):
        raise ValueError(f"{path} takes a mapping of figures by id, not {known!r}.")
    new = {judgement.env_id.rpartition(":")[2]: _measured(judgement) for judgement in judgements}
    _write(dict(sorted({**known, **new}.items())), path)


def _measured(judgement: Judgement) -> dict[str, dict[str, float]]:
    if any(row.seeds < 2 for row in judgement.rows):
        raise ValueError(f"The figures of {judgement.env_id} have no spread: measure with 2 seeds or more.")
    return {row.agent: _measured_agent(row, judgement.steps) for row in judgement.rows}


def _measured_agent(row: Row, steps: int) -> dict[str, float]:
    return {"mean": round(row.figure, 4), "spread": round(row.spread, 4), "seeds": row.seeds, "steps": steps}


def _write(value: object, path: Path) -> None:
    text = json.dumps(_finite(value), indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def _finite(value: object) -> object:
    """Return a value with None in place of NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
