"""Errors of loading a data set by name."""

from pathlib import Path


class UnknownDatasetError(ValueError):
    """Unknown data set; the message lists the known names and suggests the nearest."""


class MissingDataError(FileNotFoundError):
    """Files of a data set are missing from the data root; the message lists them and how to get them."""


class DamagedDataError(ValueError):
    """The contents of a file are invalid; the message names the file and the problem."""


class DownloadError(OSError):
    """A download failed; the message gives the reason and an alternative."""


def damaged(path: Path, problem: str) -> DamagedDataError:
    """Return the error for a damaged file or folder.

    Args:
        path: The damaged file or folder.
        problem: Description of the damage, as the end of the sentence "PATH is damaged: ...".

    Returns:
        The error, for the caller to raise (with ``from`` if it has a cause).
    """
    return DamagedDataError(f"{path} is damaged: {problem}. Delete it and get the data set again.")
