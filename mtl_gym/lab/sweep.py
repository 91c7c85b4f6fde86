"""Sweeps of many runs, in which a failed run does not affect the others.

Each run has its own folder, resumes from its checkpoint after a kill, and gives the same result on any executor.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import gymnasium as gym

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.lab.files import ERROR, PLAN
from mtl_gym.lab.locks import RunInUseError
from mtl_gym.lab.records import EVERYTHING, Extras, RunResult, RunSettings
from mtl_gym.lab.run import finished_run, train
from mtl_gym.lab.together import Tell, train_together, units

logger = logging.getLogger(__name__)

# Errors whose message is meant for the user.
SENTENCES = (ValueError, OSError, ArithmeticError, ImportError, gym.error.Error)


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result.

    Attributes:
        settings: Settings of the run.
        error: Reason, as a sentence.
    """

    settings: RunSettings
    error: str

    def __str__(self) -> str:
        """Format the failure for the list below a table."""
        return f"{self.settings.name}, seed {self.settings.seed}: {self.error}"


Outcome: TypeAlias = RunResult | Failure


class Watcher:
    """Receiver of the progress of a sweep; the base class ignores it."""

    def moved(self, run: int, steps: int, accuracy: float) -> None:
        """Receive the decisions and the last validation accuracy (NaN before the first) of run number `run`."""

    def ended(self, run: int, outcome: Outcome) -> None:
        """Receive the outcome of run number `run`."""


@dataclass(frozen=True)
class Sweep:
    """Runs with a common folder.

    Attributes:
        runs: Settings of the runs.
        out: Folder of the runs.
        wandb: Weights & Biases project that also receives the logs, or None.
        extras: What the runs record beside their results.
        parts: Folder below `out` for each run, where several comparisons make one sweep; default `out` itself.

    Raises:
        ValueError: If `out` or a folder above it is a file.
    """

    runs: Sequence[RunSettings]
    out: Path
    wandb: str | None = None
    extras: Extras = EVERYTHING
    parts: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse a folder that cannot be made, before every run fails in it."""
        there = next((place for place in (self.out, *self.out.parents) if place.exists()), self.out)
        if there.exists() and not there.is_dir():
            raise ValueError(f"out={str(self.out)!r} is not possible: {there} is a file; choose a folder for the runs.")

    def folder(self, run: int) -> Path:
        """Return the folder of run number `run`."""
        return folder(self.out / self.parts[run] if self.parts else self.out, self.runs[run])

    def refuse_other_runs(self) -> None:
        """Refuse folders that contain runs with other settings, before anything is written.

        Raises:
            FileExistsError: If there are any.
        """
        others: list[str] = []
        for number, run in enumerate(self.runs):
            with suppress(CheckpointError):  # a damaged file is a failure of its run alone
                try:
                    finished_run(run, self.folder(number))
                except FileExistsError as error:
                    others.append(str(error))
        if others:
            told = f"{len(others)} of the {len(self.runs)} folders contain other runs: nothing was changed."
            raise FileExistsError(f"{others[0]} {told}")

    def write_plan(self) -> None:
        """Write the folder and the decisions of every run into `plan.json`, unless `out` cannot be written."""
        folders = [self.folder(run).relative_to(self.out).as_posix() for run in range(len(self.runs))]
        runs = {folder: run.steps for folder, run in zip(folders, self.runs, strict=True)}
        text = json.dumps({"runs": runs}, indent=2) + "\n"
        try:
            checkpoint.write_atomically(self.out / PLAN, lambda file: file.write(text.encode()))
        except OSError as error:  # a finished comparison may stand in a read-only folder
            logger.info("%s could not be written into %s: %s.", PLAN, self.out, error)

    def units(self, runs: Sequence[int], jobs: int = 1) -> list[list[int]]:
        """Divide runs among which are those that can be trained together; see `mtl_gym.lab.together`."""
        if self.wandb is not None:
            return [[run] for run in runs]
        return units({run: self.runs[run] for run in runs}, {run: self.folder(run) for run in runs}, jobs)

    def attempt(self, unit: Sequence[int], tell: Tell) -> list[Outcome]:
        """Carry out the runs of one unit; return their results, or errors as failures.

        After an error in runs that are trained together, each is carried out alone from its last checkpoint, so that
        those without the error go on.
        """
        places = [self.folder(run) for run in unit]
        settings = [self.runs[run] for run in unit]
        try:
            if len(unit) > 1:
                inner = lambda run, steps, accuracy: tell(unit[run], steps, accuracy)  # noqa: E731
                return list(train_together(settings, places, inner, self.extras))
            alone = lambda steps, accuracy: tell(unit[0], steps, accuracy)  # noqa: E731
            return [train(settings[0], places[0], alone, self.wandb, self.extras)]
        except Exception as error:  # an agent may raise anything, and the other runs must continue
            if len(unit) > 1:
                return [outcome for run in unit for outcome in self.attempt([run], tell)]
            return [_failure(*pair, error) for pair in zip(settings, places, strict=True)]


def folder(out: Path, settings: RunSettings) -> Path:
    """Return the folder of a run in a comparison."""
    return out / settings.name / f"seed-{settings.seed}"


def _failure(settings: RunSettings, place: Path, error: Exception) -> Failure:
    named = str(error) if isinstance(error, SENTENCES) and str(error) else f"{type(error).__name__}: {error}"
    text = json.dumps({"error": named, "traceback": traceback.format_exception(error)}, indent=2) + "\n"
    try:
        if not isinstance(error, (FileExistsError, RunInUseError)):  # that folder belongs to another run
            checkpoint.write_atomically(place / ERROR, lambda file: file.write(text.encode()))
    except OSError as unwritten:
        logger.warning("The error of %s, seed %d, could not be written: %s.", settings.name, settings.seed, unwritten)
    return Failure(settings, named)
