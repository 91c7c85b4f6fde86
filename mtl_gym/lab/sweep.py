"""Many runs: one after the other, in several processes, or on a Ray cluster. A run that fails harms no other.

Each run lives in its folder, goes on from its checkpoint after a kill, and does not depend on who carries it out.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import gymnasium as gym

from mtl_gym.core.state import checkpoint
from mtl_gym.lab.files import ERROR
from mtl_gym.lab.locks import RunInUseError
from mtl_gym.lab.records import RunResult, RunSettings
from mtl_gym.lab.run import train

logger = logging.getLogger(__name__)

# Errors whose message is a sentence for the user.
SENTENCES = (ValueError, OSError, ArithmeticError, ImportError, gym.error.Error)


@dataclass(frozen=True)
class Failure:
    """A run that ended without a result.

    Attributes:
        settings: The run.
        error: Why, in a sentence.
    """

    settings: RunSettings
    error: str

    def __str__(self) -> str:
        """As it stands below a table."""
        return f"{self.settings.name}, seed {self.settings.seed}: {self.error}"


Outcome: TypeAlias = RunResult | Failure


class Watcher:
    """Sees how the runs of a sweep get on; this one does nothing about it."""

    def moved(self, run: int, steps: int, accuracy: float) -> None:
        """Run number `run` has made so many decisions; its last validation accuracy is NaN before there is one."""

    def ended(self, run: int, outcome: Outcome) -> None:
        """Run number `run` is finished or has failed."""


@dataclass(frozen=True)
class Sweep:
    """Runs, and what they share.

    Attributes:
        runs: The runs.
        out: Their folder.
        wandb: A project of Weights and Biases that they are logged to, or None.
    """

    runs: Sequence[RunSettings]
    out: Path
    wandb: str | None = None

    def attempt(self, run: int, tell: Callable[[int, float], None]) -> Outcome:
        """Carry out run number `run`; whatever goes wrong in it is its outcome."""
        settings = self.runs[run]
        place = folder(self.out, settings)
        try:
            return train(settings, place, tell, self.wandb)
        except Exception as error:  # an agent may raise anything, and the other runs are to go on
            return _failure(settings, place, error)


def folder(out: Path, settings: RunSettings) -> Path:
    """Where a run of a comparison lives."""
    return out / settings.name / f"seed-{settings.seed}"


def _failure(settings: RunSettings, place: Path, error: Exception) -> Failure:
    named = str(error) if isinstance(error, SENTENCES) and str(error) else f"{type(error).__name__}: {error}"
    text = json.dumps({"error": named, "traceback": traceback.format_exception(error)}, indent=2) + "\n"
    try:
        if not isinstance(error, (FileExistsError, RunInUseError)):  # that folder is another's
            checkpoint.write_atomically(place / ERROR, lambda file: file.write(text.encode()))
    except OSError as unwritten:
        logger.warning("The error of %s, seed %d, could not be written: %s.", settings.name, settings.seed, unwritten)
    return Failure(settings, named)
