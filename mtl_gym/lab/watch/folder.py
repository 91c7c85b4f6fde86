"""States of runs under way, read from their folders; a file is read again only after it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.measure import Measure
from mtl_gym.lab.curves import Curve, read_curve
from mtl_gym.lab.files import (
    CHECKPOINT,
    CONFIG,
    ERROR,
    PLAN,
    PROGRESS,
    RESULT,
    read_error,
    read_measure,
    read_plan,
    read_result,
    read_settings,
    there,
)
from mtl_gym.lab.records import RunResult, RunSettings
from mtl_gym.lab.report.collection import pictures_in, run_folders

Read = TypeVar("Read")

# States of a run, in the order of a table.
FAILED, DAMAGED, TRAINING, WAITING, FINISHED = "failed", "damaged", "training", "waiting", "finished"
STATES = (FAILED, DAMAGED, TRAINING, WAITING, FINISHED)
OVER = (FAILED, FINISHED)


class KeptFile(Generic[Read]):
    """Content of a file.

    Args:
        path: The file.
        read: Function that reads it; it raises a `CheckpointError` if the file is damaged.

    Attributes:
        value: Content when the file could last be read; None without a file.
        error: Reason why the file cannot be read now; else empty.
        wrote: Time of the last change in seconds since 1970; 0 without a file.
    """

    def __init__(self, path: Path, read: Callable[[], Read]) -> None:
        self._path, self._read = path, read
        self._seen: tuple[int, int, int] | None = None
        self.value: Read | None = None
        self.error, self.wrote = "", 0.0

    def look(self) -> bool:
        """Read the file if it has changed; return whether it has."""
        try:
            now = os.stat(self._path)
        except OSError:
            changed = self._seen is not None
            self._seen, self.value, self.error, self.wrote = None, None, "", 0.0
            return changed
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if seen == self._seen:
            return False
        self._seen, self.wrote = seen, now.st_mtime
        try:
            self.value, self.error = self._read(), ""
        except (CheckpointError, OSError) as error:
            self.error = str(error)
        return True


@dataclass(frozen=True)
class RunState:
    """State of a run, as its files tell it.

    Attributes:
        folder: Folder of the run.
        name: Name of the folder that its seeds share, as in reports; of a run alone, the name in its settings.
        seed: Seed in the folder's name; of a run alone, that in its settings.
        state: One of `STATES`.
        env_id: Environment id; empty if the run has not begun.
        decisions: Decisions at the last evaluation; all of them if the run is finished.
        steps: Decisions of the whole run; None if unknown.
        measure: Measure of its figures; None if unknown.
        curve: Validation curve so far, or None.
        result: Result, or None.
        note: Reasons of a failure and of files that cannot be read, as sentences.
        wrote: Time of the last change of one of its files in seconds since 1970; 0 if there is none.
        pictures: Pictures in the folder, sorted by name.
    """

    folder: Path
    name: str
    seed: str
    state: str
    env_id: str = ""
    decisions: int = 0
    steps: int | None = None
    measure: Measure | None = None
    curve: Curve | None = None
    result: RunResult | None = None
    note: str = ""
    wrote: float = 0.0
    pictures: list[Path] = field(default_factory=list)


class WatchedRun:
    """A run whose state is looked at again and again.

    Args:
        folder: Folder of the run, which need not exist yet.
        shown: Folder that messages leave out of paths.
    """

    def __init__(self, folder: Path, shown: Path) -> None:
        self.folder, self._shown = folder, shown
        self._config = KeptFile(folder / CONFIG, lambda: (read_settings(folder), read_measure(folder)))
        self._progress = KeptFile(folder / PROGRESS, lambda: read_curve(folder / PROGRESS))
        self._result = KeptFile(folder / RESULT, lambda: read_result(folder))
        self._error = KeptFile(folder / ERROR, lambda: read_error(folder))
        self._checkpoint = KeptFile(folder / CHECKPOINT, lambda: None)
        self._finished: RunState | None = None

    def look(self, planned: float = 0.0, steps: int | None = None) -> RunState:
        """Return the state now.

        Args:
            planned: Time when a sweep last set out to do the run; what was written before is of an earlier attempt.
            steps: Decisions in the plan.
        """
        if self._result.look() or self._finished is None:
            files = (self._config, self._progress, self._error, self._checkpoint)
            for file in files:
                file.look()
            state = self._state(planned, steps)
            self._finished = state if state.state == FINISHED else None
            return state
        return self._finished

    def _state(self, planned: float, steps: int | None) -> RunState:
        settings, measure = self._config.value or (None, None)
        result, curve = self._result.value, self._progress.value
        settings = result.settings if result else settings
        steps = settings.steps if settings else steps
        state = self._word(planned)
        name, seed = self._called(settings)
        done = int(curve.decisions[-1]) if curve else 0
        return RunState(
            self.folder,
            name,
            seed,
            state,
            settings.env_id if settings else "",
            (steps or 0) if state == FINISHED else done,
            steps,
            result.measure if result else measure,
            curve,
            result if state == FINISHED else None,
            self._note(),
            self._wrote,
            pictures_in(self.folder),
        )

    def _called(self, settings: RunSettings | None) -> tuple[str, str]:
        if settings is None or self.folder.name.startswith("seed-"):
            return self.folder.parent.name, self.folder.name.removeprefix("seed-")
        return settings.name, str(settings.seed)

    @property
    def _wrote(self) -> float:
        return max(file.wrote for file in (self._config, self._progress, self._result, self._error, self._checkpoint))

    def _word(self, planned: float) -> str:
        if self._result.error or self._config.error:
            return DAMAGED
        if self._result.value:
            return FINISHED
        if self._wrote < planned or not self._wrote:
            return WAITING
        return FAILED if self._error.wrote else TRAINING

    def _note(self) -> str:
        told = [self._error.value or "", *(f.error for f in (self._result, self._config, self._progress))]
        # A page does not reveal the paths of the disk that it was written on.
        return " ".join(dict.fromkeys(filter(None, told))).replace(f"{self._shown}/", "")


class WatchedFolder:
    """The runs in a folder: of one run, of a comparison (AGENT/seed-N), or of several (COMPARISON/AGENT/seed-N).

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plan = KeptFile(folder / PLAN, lambda: read_plan(folder))
        self._runs: dict[Path, WatchedRun] = {}

    @property
    def note(self) -> str:
        """Reason why the plan cannot be read; else empty."""
        return self._plan.error.replace(f"{self.folder}/", "")

    def look(self) -> list[RunState]:
        """Return the states of all runs that have begun or are planned."""
        self._plan.look()
        planned = {self.folder / run: steps for run, steps in (self._plan.value or {}).items()}
        found = [self.folder] if there(self.folder / CONFIG) else [*run_folders(self.folder)]
        states = []
        for place in dict.fromkeys([*planned, *found]):
            run = self._runs.setdefault(place, WatchedRun(place, self.folder))
            states.append(run.look(self._plan.wrote if place in planned else 0.0, planned.get(place)))
        return states
