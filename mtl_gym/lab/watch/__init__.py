"""A page about runs under way, rewritten while they train.

Nothing is served: the page is a file in a folder, written atomically, which a browser reads from this disk or from a
shared one. It reloads itself and asks the network for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.lab.report.collection import name_of
from mtl_gym.lab.report.document import Live, to_html
from mtl_gym.lab.watch.folder import OVER, RunState, WatchedFolder
from mtl_gym.lab.watch.page import Page, clock, summary

__all__ = ["Watch", "watch"]

PAGE = "watch.html"


@dataclass(frozen=True)
class Watch:
    """Settings of a watch.

    Attributes:
        folder: Folder of a run or of one or more comparisons.
        out: Folder of the page; default `folder`.
        every: Seconds between two pages.
        once: Whether to write a single page, which does not reload.

    Raises:
        ValueError: If `every` is not a number of seconds above 0.
    """

    folder: Path
    out: Path | None = None
    every: float = 5.0
    once: bool = False

    def __post_init__(self) -> None:
        """Check the seconds."""
        if not 0 < self.every < float("inf"):
            raise ValueError(f"every={self.every} is not possible; it takes seconds, more than 0.")

    @property
    def page(self) -> Path:
        """Path of the page."""
        return (self.out or self.folder) / PAGE


def watch(settings: Watch, tell: Callable[[str], object] = lambda summary: None) -> list[RunState]:
    """Write a page about runs again and again, until all of them are finished or failed.

    The last page, also that of an interrupted watch, does not reload.

    Args:
        settings: Folders and times.
        tell: Callback that receives the summary of each page after it is written.

    Returns:
        States of the runs in the last page.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If the page cannot be written.
    """
    if not settings.folder.is_dir():
        raise FileNotFoundError(f"There is no folder {settings.folder}: start the runs first, or correct the path.")
    writer = _Writer(settings)
    runs = writer.folder.look()
    over = settings.once or _over(runs)
    try:
        while not over:
            writer.write(runs, live=True)
            tell(summary(runs))
            time.sleep(settings.every)
            # A comparison draws its pictures after its last run: look once more.
            over, runs = _over(runs), writer.folder.look()
    except KeyboardInterrupt:
        writer.write(runs, live=False)
        raise
    writer.write(runs, live=False)
    tell(summary(runs))
    return runs


def _over(runs: list[RunState]) -> bool:
    return bool(runs) and all(run.state in OVER for run in runs)


class _Writer:
    """Writer of the pages of a watch."""

    def __init__(self, settings: Watch) -> None:
        self.settings, folder = settings, settings.folder.absolute()
        self.folder, self._page = WatchedFolder(folder), Page(folder)

    def write(self, runs: list[RunState], live: bool) -> None:
        """Write the page, which reloads itself if it is live."""
        every, path, now = self.settings.every, self.settings.page, time.time()
        again = f"and again every {every:g} seconds" if live else "for the last time"
        told = f"Written at {clock(now)}, {again}."
        sections = self._page.sections(runs, [told, *filter(None, [self.folder.note])], now)
        title = f"Watching {name_of(self.settings.folder)}"
        page = to_html(title, sections, Live(path.parent.absolute(), every if live else None))
        try:
            write_atomically(path, lambda file: file.write(page.encode()))
        except OSError as error:
            raise OSError(
                f"The page cannot be written into {path.parent} ({error}); choose a folder with --out."
            ) from error
