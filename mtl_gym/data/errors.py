"""What can go wrong between a data set's name and its tensors."""

from pathlib import Path


class UnknownDatasetError(ValueError):
    """There is no data set of that name; the message lists the known ones and the nearest."""


class MissingDataError(FileNotFoundError):
    """The files of a data set are not in the data root; the message says which, where, and how to get them."""


class DamagedDataError(ValueError):
    """A file is there but cannot be what it should be; the message names the file and what is wrong with it."""


class DownloadError(OSError):
    """A data set could not be fetched; the message says why and what to do instead."""


def damaged(path: Path, problem: str) -> DamagedDataError:
    """Builds the error for one bad file or folder.

    Args:
        path: What is damaged.
        problem: What is wrong with it, as the end of the sentence "PATH is damaged: ...".

    Returns:
        The error, for the caller to raise (so that it can say ``from``).
    """
    return DamagedDataError(f"{path} is damaged: {problem}. Delete it and get the data set again.")
