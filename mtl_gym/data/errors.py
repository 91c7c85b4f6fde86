"""Errors of loading a data set by name."""

from pathlib import Path


class UnknownDatasetError(ValueError):
    """Unknown data set; the message lists the known names and suggests the nearest."""


class MissingDataError(FileNotFoundError):
    """Missing files of a data set; the message lists them and how to get them."""


class DamagedDataError(ValueError):
    """Damaged file; the message names the file and the problem."""


class DownloadError(OSError):
    """Failed download; the message gives the reason and an alternative."""


def damaged(path: Path, problem: str) -> DamagedDataError:
    """Return the error for a damaged file or folder.

    Args:
        path: The damaged file or folder.
        problem: Description of the damage, as the end of the sentence "PATH is damaged: ...".

    Returns:
        The error, for the caller to raise (with ``from`` if it has a cause).
    """
    return DamagedDataError(f"{path} is damaged: {problem}. Delete it and get the data set again.")
