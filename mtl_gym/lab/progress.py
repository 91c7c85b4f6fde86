"""Progress bar of a sweep: completed runs, last score and remaining time."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import numpy as np
from typing_extensions import Self

from mtl_gym.core.extras import needed_by
from mtl_gym.lab.records import RunSettings
from mtl_gym.lab.screen import console_of, descriptions, say
from mtl_gym.lab.sweep import Failure, Outcome, Watcher

with needed_by("A progress bar"):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn


class Bar(Watcher):
    """A progress bar on a terminal; elsewhere a line per finished run on standard error.

    Args:
        runs: The runs.
        console: Console of the bar.
        quiet: Show neither bar nor lines.
    """

    def __init__(self, runs: Sequence[RunSettings], console: Console, quiet: bool) -> None:
        columns = (descriptions(), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        hidden = quiet or not console.is_terminal
        self.runs, self._lines = runs, hidden and not quiet
        self.steps = np.zeros(len(runs), np.int64)
        self.done = self.failed = 0
        self._progress = Progress(*columns, console=console, disable=hidden, transient=True)
        self._bar = self._progress.add_task(self._label(""), total=sum(run.steps for run in runs))

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        self._say(f"{len(self.runs)} runs, {sum(run.steps for run in self.runs):,} decisions")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._progress.stop()

    def moved(self, run: int, steps: int, accuracy: float) -> None:
        """Move the bar."""
        self.steps[run] = min(steps, self.runs[run].steps)
        score = "" if np.isnan(accuracy) else f" {100 * accuracy:.1f}%"
        self._show(f", {self.runs[run].name} seed {self.runs[run].seed}{score}")

    def ended(self, run: int, outcome: Outcome) -> None:
        """Count the run as done, or as failed."""
        self.steps[run] = self.runs[run].steps
        self.done += 1
        if isinstance(outcome, Failure):
            self.failed += 1
            self._show("")
        else:
            told = f"{outcome.figure:.1f}{outcome.measure.unit}"
            self._show(f", {outcome.settings.name} seed {outcome.settings.seed}: {told}")
        self._say(str(self._progress.tasks[0].description))

    def _say(self, line: str) -> None:
        if self._lines:
            say(console_of(stderr=True), line)

    def _show(self, latest: str) -> None:
        self._progress.update(self._bar, completed=int(self.steps.sum()), description=self._label(latest))

    def _label(self, latest: str) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}/{len(self.runs)} runs{failed}{latest}"
