"""Temporary files and folders, which a killed process leaves and the next one removes.

Each is locked by the process that writes it. The lock ends with the process, so that one without a lock is a leftover.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

# Suffix of temporary files and folders.
UNFINISHED = ".unfinished"


def scratch_file(path: Path) -> tuple[int, str]:
    """Make a temporary file beside `path` and lock it.

    Returns:
        Its descriptor, whose closing ends the lock, and its path.

    Raises:
        OSError: If the file cannot be made.
    """
    return _locked(lambda: tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED))


@contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """Make a locked temporary folder in `folder`, and remove it at the end.

    Raises:
        OSError: If the folder cannot be made.
    """
    descriptor, scratch = _locked(lambda: _make_folder(folder, name))
    try:
        yield Path(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers left in a folder; the temporary files of living writers and of other users stay."""
    for path in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            _remove_unlocked(path)


def _make_folder(folder: Path, name: str) -> tuple[int, str]:
    path = tempfile.mkdtemp(dir=folder, prefix=f".{name}.", suffix=UNFINISHED)
    return os.open(path, os.O_RDONLY), path


def _locked(make: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Make a temporary file or folder and lock it, again if another process took it for a leftover just before."""
    while True:
        descriptor, path = make()
        if _locks(descriptor, path):
            return descriptor, path
        os.close(descriptor)


def _locks(descriptor: int, path: str) -> bool:
    """Lock a temporary file or folder; return False if it has been removed meanwhile."""
    if sys.platform != "win32":
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    return os.path.exists(path)


def _remove_unlocked(path: Path) -> None:
    if sys.platform == "win32":  # open files cannot be removed there
        path.unlink()
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(descriptor)
