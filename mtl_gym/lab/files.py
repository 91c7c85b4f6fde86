"""Readers of the files of a run, with checks of keys, types, shapes and numbers.

Reading executes no code from a file and imports no module that a file names: its environment must be registered.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import TypeVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.measure import Measure
from mtl_gym.core.policies import PolicyHistory
from mtl_gym.core.rows import State
from mtl_gym.core.state.checkpoint import said
from mtl_gym.core.validation import short
from mtl_gym.lab.parsing import parse_json, read_text
from mtl_gym.lab.records import RunResult, RunSettings, built, require, result_of, settings_of

CONFIG, RESULT, ERROR, CHECKPOINT = "config.json", "result.json", "error.json", "checkpoint.pt"
ENVIRONMENT, AGENT, PROGRESS, POLICIES = "environment.pt", "agent.pt", "progress.csv", "policies.npz"
PLAN = "plan.json"
AGAIN = "; remove it to run again"
Read = TypeVar("Read")


def there(path: Path) -> bool:
    """Return whether a path exists, also as a broken link."""
    return os.path.lexists(path)


@contextmanager
def reading(what: str, path: Path, advice: str = "") -> Iterator[None]:
    """Turn any error of the body into a `CheckpointError` that names the file.

    Args:
        what: Content of the file, a noun for the message.
        path: The file.
        advice: End of the message.

    Raises:
        CheckpointError: If the body raises.
    """
    try:
        yield
    except Exception as error:  # broken files raise a dozen types of errors
        raise CheckpointError(f"The {what} in {path} cannot be read ({said(error)}){advice}.") from error


def read_each(
    runs: Iterable[Path], read: Callable[[Path], Read | None], tell: Callable[[str], object]
) -> dict[Path, Read]:
    """Read a file of every run; pass the errors of damaged files to `tell` and skip their runs."""
    found = {run: _read_one(run, read, tell) for run in runs}
    return {run: value for run, value in found.items() if value is not None}


def _read_one(run: Path, read: Callable[[Path], Read | None], tell: Callable[[str], object]) -> Read | None:
    try:
        return read(run)
    except CheckpointError as error:
        tell(str(error))
        return None


def read_settings(out: Path) -> RunSettings:
    """Return the settings of the run in `out`.

    Raises:
        FileNotFoundError: If `out` contains no run.
        CheckpointError: If the settings cannot be read.
    """
    fields = _config(out)
    with reading("settings", out / CONFIG):
        return settings_of(_field(fields, "settings"))


def read_measure(out: Path) -> Measure | None:
    """Return the measure of the run in `out`; None if it is older than this entry of `config.json`.

    Raises:
        FileNotFoundError: If `out` contains no run.
        CheckpointError: If the measure cannot be read.
    """
    fields = _config(out)
    with reading("measure", out / CONFIG):
        return built(Measure, fields["measure"]) if "measure" in fields else None


def read_plan(out: Path) -> dict[PurePosixPath, int]:
    """Return the number of decisions of every run of a sweep, by its folder relative to `out`.

    Raises:
        FileNotFoundError: If `out` has no plan.
        CheckpointError: If the plan cannot be read.
    """
    if not there(out / PLAN):
        raise FileNotFoundError(f"There is no {PLAN} in {out}.")
    with reading("plan", out / PLAN, AGAIN):
        runs = _field(read_mapping(out / PLAN), "runs")
        if not isinstance(runs, dict):
            raise ValueError("runs takes a mapping from folders to decisions")
        for folder, steps in runs.items():
            _check_planned(PurePosixPath(folder), steps)
    return {PurePosixPath(folder): steps for folder, steps in runs.items()}


def _check_planned(folder: PurePosixPath, steps: object) -> None:
    if folder.is_absolute() or ".." in folder.parts or not folder.name.startswith("seed-"):
        raise ValueError(f"runs has the folder {short(str(folder))}; it takes folders such as 'wpl/seed-0'")
    require(f"runs[{str(folder)!r}]", steps, 1)


def _config(out: Path) -> State:
    if not there(out / CONFIG):
        raise FileNotFoundError(f"There is no run in {out}: it has no {CONFIG}.")
    with reading("settings", out / CONFIG):
        return read_mapping(out / CONFIG)


def read_origin(out: Path) -> State:
    """Return the provenance of the run in `out`.

    Returns:
        `versions` and `git` at its start, and `resumed`, a list of both with `decisions` for later resumptions.

    Raises:
        FileNotFoundError: If `out` contains no run.
        CheckpointError: If the file cannot be read.
    """
    fields = _config(out)
    with reading("versions", out / CONFIG):
        origin = {"versions": fields["versions"], "git": fields.get("git"), "resumed": fields.get("resumed", [])}
        for part in [origin, *origin["resumed"]]:
            if not all(isinstance(version, str) for version in part["versions"].values()):
                raise ValueError(f"versions={part['versions']} is not possible; it takes strings by package name")
    return origin


def read_result(out: Path) -> RunResult:
    """Return the result of the finished run in `out`.

    Raises:
        FileNotFoundError: If the run is not finished.
        CheckpointError: If the file cannot be read, or its settings differ from those in `config.json`.
    """
    path = out / RESULT
    if not there(path):
        raise FileNotFoundError(f"The run in {out} is not finished: it has no {RESULT}. Train it again.")
    with reading("result", path, AGAIN):
        result = result_of(read_mapping(path))
    if there(out / CONFIG) and read_settings(out) != result.settings:
        raise CheckpointError(f"The result in {path} has other settings than {CONFIG}{AGAIN}.")
    return result


def read_error(out: Path) -> str:
    """Return the error message of the failed run in `out`."""
    try:
        with reading("reason", out / ERROR):
            return str(_field(read_mapping(out / ERROR), "error"))
    except CheckpointError as error:
        return f"It failed, and {str(error)[0].lower()}{str(error)[1:]}"


def read_progress(path: Path, more: Sequence[str] = ()) -> dict[str, NDArray[np.float64]]:
    """Return the curves in a `progress.csv`: `steps`, `epoch` and `accuracy`.

    Args:
        path: The file.
        more: Names of further columns to return if the file has them.

    Returns:
        Columns by name, float64 [evaluations]; unknown epochs are NaN.

    Raises:
        CheckpointError: If the file is damaged.
    """
    with reading("progress", path):
        text = read_text(path)
        rows = list(csv.DictReader(StringIO(text, newline=""), strict=True))
        if not rows or not text.endswith("\n"):
            raise ValueError("it is truncated" if rows else "it has no evaluations")
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("its lines differ in length")
        names = ["steps", "accuracy", *(name for name in more if name in rows[0])]
        columns = {name: np.array([float(row[name]) for row in rows]) for name in names}
        columns["epoch"] = np.array([float(row.get("epoch") or "nan") for row in rows])
        _check_progress(columns)
    return columns


def _check_progress(columns: Mapping[str, NDArray[np.float64]]) -> None:
    for name, values in columns.items():
        known = values[~np.isnan(values)] if name == "epoch" else values
        signed = name in ("accuracy", "figure")
        if not np.isfinite(known).all() or (not signed and (known < 0).any()):
            raise ValueError(f"{name} takes finite numbers{'' if signed else ', 0 or more'}")
    if (columns["accuracy"] > 1).any():
        raise ValueError("accuracy takes numbers, 1 or less")
    steps = columns["steps"]
    if (steps % 1).any() or (np.diff(steps) <= 0).any():
        raise ValueError("steps takes increasing whole numbers")


def read_policies(out: Path, tasks: int) -> PolicyHistory:
    """Return the policies over time of a run with the given number of tasks.

    Raises:
        CheckpointError: If the file is damaged or has another number of tasks.
        FileNotFoundError: If the file does not exist.
    """
    history = PolicyHistory.read(out / POLICIES)
    if history.policy.shape[1] != tasks:
        found = history.policy.shape[1]
        raise CheckpointError(
            f"The policies in {out / POLICIES} cannot be read (they have {found} tasks, the run has {tasks})."
        )
    return history


def registered(env_id: str, path: Path) -> str:
    """Return the bare environment id from a file, without importing its module.

    Args:
        env_id: Id in the file, with or without a module (`module:id`).
        path: The file.

    Raises:
        CheckpointError: If the id has a module and is not registered.
    """
    module, colon, bare = env_id.rpartition(":")
    if colon and bare not in gym.registry:
        raise CheckpointError(
            f"{path} names the environment {env_id!r}, and files never import: import {module!r} yourself, or pass the "
            "id on the command line (--env)."
        )
    return bare


def read_mapping(path: Path) -> State:
    """Return the mapping in a JSON file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not JSON, or not a mapping.
    """
    fields = parse_json(read_text(path), path.name)
    if not isinstance(fields, dict):
        raise ValueError(f"{path.name} contains a {type(fields).__name__}; it takes a mapping")
    return fields


def _field(fields: Mapping[str, object], name: str) -> object:
    if name not in fields:
        raise ValueError(f"{name!r} is missing")
    return fields[name]
