"""Finished, failed and unfinished runs read from the folders of comparisons."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.lab.alike import alike
from mtl_gym.lab.compare import line_of
from mtl_gym.lab.files import CONFIG, ERROR, RESULT, read_error, read_result, there
from mtl_gym.lab.records import RunResult
from mtl_gym.lab.sheets import write_csv


@dataclass(frozen=True)
class Run:
    """A finished run and its folder; a report names it after the parent folder that its seeds share."""

    folder: Path
    result: RunResult

    @property
    def pictures(self) -> list[Path]:
        """Pictures of the run, sorted by name."""
        return pictures_in(self.folder)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, sorted by name."""
    return sorted(path for path in folder.glob("*.png") if path.is_file())


@dataclass(frozen=True)
class MissingResult:
    """A run without a result.

    Attributes:
        agent: Name of the run.
        seed: Seed in the folder's name.
        error: Reason, as a sentence.
    """

    agent: str
    seed: str
    error: str


@dataclass(frozen=True)
class Comparison:
    """Agents on one environment.

    Attributes:
        name: Name of the comparison's folder.
        folder: Parent of the agents' folders.
        runs: Finished runs.
        failures: Failed and unfinished runs.
    """

    name: str
    folder: Path
    runs: list[Run] = field(default_factory=list)
    failures: list[MissingResult] = field(default_factory=list)

    @property
    def results(self) -> list[RunResult]:
        """Results of the finished runs."""
        return [run.result for run in self.runs]

    @property
    def env_id(self) -> str:
        """Environment id; empty if no run is finished."""
        return self.runs[0].result.settings.env_id if self.runs else ""

    @property
    def measure(self) -> Measure:
        """Measure of the finished runs."""
        return self.runs[0].result.measure if self.runs else ACCURACY

    @property
    def agents(self) -> list[str]:
        """Names of the agents with a finished run."""
        return list(dict.fromkeys(result.settings.name for result in self.results))

    @property
    def pictures(self) -> list[Path]:
        """Pictures of the whole comparison, drawn by `compare`."""
        return pictures_in(self.folder)


def read_comparisons(folder: Path) -> list[Comparison]:
    """Read the comparison in a folder, or the comparisons in its subfolders.

    Args:
        folder: Folder that contains AGENT/seed-N or COMPARISON/AGENT/seed-N.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no finished run.
        ValueError: If a comparison has runs of several environments.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    found: dict[Path, Comparison] = {}
    for path in run_folders(folder):
        place = path.parent.parent
        name = name_of(folder) if place == folder else place.name
        _add(found.setdefault(place, Comparison(name, place)), path)
    if not any(comparison.runs for comparison in found.values()):
        raise FileNotFoundError(
            f"There is no finished run in {folder}: give the folder of a comparison (AGENT/seed-N/{RESULT}) "
            "or of several (COMPARISON/AGENT/seed-N)."
        )
    return [_checked(comparison) for comparison in found.values()]


def name_of(folder: Path) -> str:
    """Return the name of a folder, also for paths such as `.`."""
    return os.path.basename(os.path.realpath(folder))


def run_folders(folder: Path) -> Iterator[Path]:
    """Return the folders AGENT/seed-N and COMPARISON/AGENT/seed-N below a folder that contain a run."""
    for pattern in ("*/seed-*", "*/*/seed-*"):
        for path in sorted(folder.glob(pattern)):
            astray = there(path) and not path.exists()
            if astray or any(there(path / name) for name in (RESULT, ERROR, CONFIG)):
                yield path


def _add(comparison: Comparison, folder: Path) -> None:
    name, seed = folder.parent.name, folder.name.removeprefix("seed-")
    try:
        result = _read(folder)
    except CheckpointError as error:
        # A report does not reveal the paths of the disk it was written on.
        sentence = str(error).replace(f"{comparison.folder}/", "")
        comparison.failures.append(MissingResult(name, seed, sentence))
    else:
        comparison.runs.append(Run(folder, replace(result, settings=replace(result.settings, name=name))))


def _read(folder: Path) -> RunResult:
    if not folder.exists():
        raise CheckpointError("Its folder is a broken link.")
    if there(folder / RESULT):
        return read_result(folder)
    if there(folder / ERROR):
        raise CheckpointError(read_error(folder))
    raise CheckpointError(f"It did not finish: it has no {RESULT}.")


def _checked(comparison: Comparison) -> Comparison:
    """Check that the runs share one environment; move runs that are not comparable to the failures."""
    env_ids = {result.settings.env_id: tuple(result.per_task) for result in comparison.results}
    if len(env_ids) > 1:
        several = "; ".join(f"{env_id} with the tasks {', '.join(tasks)}" for env_id, tasks in sorted(env_ids.items()))
        raise ValueError(
            f"A comparison has one environment; the runs in {comparison.folder} have {several}. Move them apart."
        )
    kept, odd = alike(comparison.results)
    told = [MissingResult(r.settings.name, str(r.settings.seed), f"{why[0].upper()}{why[1:]}") for r, why in odd]
    runs = [run for run in comparison.runs if run.result in kept]
    return replace(comparison, runs=runs, failures=[*comparison.failures, *told])


def write_results(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a CSV line per run of every comparison; failed runs have an error in place of figures."""
    lines = [line for comparison in comparisons for line in _lines(comparison)]
    write_csv(lines, path, last=["error"])


def _lines(comparison: Comparison) -> Iterator[dict[str, object]]:
    for result in comparison.results:
        yield {"comparison": comparison.name} | line_of(result)
    for failure in comparison.failures:
        names: dict[str, object] = {"name": failure.agent, "seed": failure.seed, "error": failure.error}
        yield {"comparison": comparison.name} | names
