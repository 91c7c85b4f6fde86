"""Locks that admit one process at a time to the folder of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtl_gym.core.extras import needed_by

with needed_by("A run"):
    from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

# Name of the lock file; it may remain, but the lock always ends with its process.
LOCK = ".lock"
# Seconds to wait for a process that is about to end.
PATIENCE = 2.0


class RunInUseError(OSError):
    """Access to a folder in which another process runs."""


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Create a folder if necessary, and hold its lock.

    Raises:
        RunInUseError: If another process holds the lock.
        OSError: If the folder cannot be created or written.
        ValueError: If the path is not a valid folder name.
    """
    if "\0" in str(out):
        raise ValueError(f"{str(out)!r} is not a valid folder name: it has a NUL character. Choose another name.")
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise RunInUseError(
            f"Another process is using {out}: wait until it ends and try again, or choose another folder."
        ) from error
    except NotImplementedError:
        logger.warning("The file system of %s does not support locks: use the folder from one process only.", out)
    try:
        yield
    finally:
        lock.release()
