"""The runs of one comparison or of several, as they lie in folders: finished, failed, or never finished."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mtl_gym.errors import CheckpointError
from mtl_gym.experiments.compare import line_of, write_csv
from mtl_gym.experiments.run import ERROR, RunResult, read_result

RESULT, CONFIG = "result.json", "config.json"


@dataclass(frozen=True)
class Run:
    """A finished run and its folder; in a report it is called after the folder that its seeds share."""

    folder: Path
    result: RunResult

    @property
    def pictures(self) -> list[Path]:
        """What it drew, by name."""
        return sorted(self.folder.glob("*.png"))


@dataclass(frozen=True)
class Failure:
    """A run without a result.

    Attributes:
        agent: What the run is called.
        seed: As its folder says.
        error: Why, in a sentence.
    """

    agent: str
    seed: str
    error: str


@dataclass(frozen=True)
class Comparison:
    """Agents on one environment.

    Attributes:
        name: Of its folder.
        folder: Where its agents' folders are.
        runs: Finished ones.
        failures: All others.
    """

    name: str
    folder: Path
    runs: list[Run] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def results(self) -> list[RunResult]:
        """Of the finished runs."""
        return [run.result for run in self.runs]

    @property
    def env_id(self) -> str:
        """The environment; empty if no run is finished."""
        return self.runs[0].result.settings.env_id if self.runs else ""

    @property
    def agents(self) -> list[str]:
        """Names of those with a finished run."""
        return list(dict.fromkeys(result.settings.name for result in self.results))

    @property
    def pictures(self) -> list[Path]:
        """What `compare` drew of all its runs together."""
        return sorted(self.folder.glob("*.png"))


def read_comparisons(folder: Path) -> list[Comparison]:
    """The comparison in a folder, or the comparisons in its subfolders.

    Args:
        folder: Holds AGENT/seed-N or COMPARISON/AGENT/seed-N.

    Raises:
        FileNotFoundError: If there is no such folder, or no finished run in it.
        ValueError: If a comparison has runs of several environments, or of different tasks.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    found: dict[Path, Comparison] = {}
    for path in _run_folders(folder):
        place = path.parent.parent
        name = folder.resolve().name if place == folder else place.name
        _add(found.setdefault(place, Comparison(name, place)), path)
    if not any(comparison.runs for comparison in found.values()):
        raise FileNotFoundError(
            f"There is no finished run in {folder}: a report takes the folder of a comparison (AGENT/seed-N/{RESULT}) "
            "or of several (COMPARISON/AGENT/seed-N)."
        )
    for comparison in found.values():
        _check(comparison)
    return list(found.values())


def _run_folders(folder: Path) -> Iterator[Path]:
    for pattern in ("*/seed-*", "*/*/seed-*"):
        for path in sorted(folder.glob(pattern)):
            if any((path / name).is_file() for name in (RESULT, ERROR, CONFIG)):
                yield path


def _add(comparison: Comparison, folder: Path) -> None:
    name, seed = folder.parent.name, folder.name.removeprefix("seed-")
    try:
        result = _read(folder)
    except CheckpointError as error:
        # Readers of a report need not know where on somebody's disk it was made.
        sentence = str(error).replace(f"{comparison.folder}/", "")
        comparison.failures.append(Failure(name, seed, sentence))
    else:
        comparison.runs.append(Run(folder, replace(result, settings=replace(result.settings, name=name))))


def _read(folder: Path) -> RunResult:
    if (folder / RESULT).is_file():
        return _checked(read_result(folder), folder)
    if (folder / ERROR).is_file():
        raise CheckpointError(_read_error(folder / ERROR))
    raise CheckpointError(f"It did not finish: it has no {RESULT}.")


def _checked(result: RunResult, folder: Path) -> RunResult:
    numbers = [result.accuracy, *getattr(result.per_task, "values", list)()]
    if len(numbers) < 2 or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        raise CheckpointError(f"The result in {folder / RESULT} has accuracies that are not numbers ({numbers}).")
    return result


def _read_error(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["error"])
    except (ValueError, KeyError, TypeError) as error:
        return f"It failed, and the reason in {path} cannot be read ({error!r})."


def _check(comparison: Comparison) -> None:
    kinds = {(result.settings.env_id, tuple(result.per_task)) for result in comparison.results}
    if len(kinds) > 1:
        several = "; ".join(f"{env_id} with the tasks {', '.join(tasks)}" for env_id, tasks in sorted(kinds))
        raise ValueError(f"A comparison is of one environment; the runs in {comparison.folder} are of {several}.")


def write_results(comparisons: Sequence[Comparison], path: Path) -> None:
    """One CSV line per run of every comparison; those that failed have their error and no figures."""
    lines = [line for comparison in comparisons for line in _lines(comparison)]
    columns = dict.fromkeys(column for line in lines for column in line if column != "error")
    write_csv(lines, [*columns, "error"], path)


def _lines(comparison: Comparison) -> Iterator[dict[str, object]]:
    for result in comparison.results:
        yield {"comparison": comparison.name} | line_of(result)
    for failure in comparison.failures:
        names: dict[str, object] = {"name": failure.agent, "seed": failure.seed, "error": failure.error}
        yield {"comparison": comparison.name} | names
