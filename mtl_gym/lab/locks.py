"""One process at a time in the folder of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

# Its name; the file may stay behind, the lock on it ends with its process, however that ends.
LOCK = ".lock"
# Seconds for a process that is just ending.
PATIENCE = 2.0


class RunInUseError(OSError):
    """Another process is at work in the folder of a run."""


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the lock on a folder, which is made if need be; another process that asks for it is refused.

    Raises:
        RunInUseError: If another process holds it.
        OSError: If the folder cannot be made or written.
        ValueError: If its name cannot be that of a folder.
    """
    if "\0" in str(out):
        raise ValueError(f"{str(out)!r} cannot name a folder: it has a NUL character.")
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise RunInUseError(
            f"Another process is at work in {out}: wait until it has ended and try again, or choose another folder."
        ) from error
    except NotImplementedError:
        logger.warning("The file system of %s knows no locks: let no other process work there.", out)
    try:
        yield
    finally:
        lock.release()
