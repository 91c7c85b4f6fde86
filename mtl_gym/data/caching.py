"""Files of computed arrays, which are read if they are sound and otherwise computed again."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.core.state.scratch import remove_unfinished

Arrays = dict[str, npt.NDArray[Any]]
# Errors of np.load on a file that is damaged, encrypted or of another format.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, AttributeError, RuntimeError, TypeError, ValueError)
_LOG = logging.getLogger(__name__)


def read_cached(path: Path, names: Sequence[str], again: str) -> Arrays | None:
    """Read arrays that `write_cached` wrote. No code in the file is run.

    Args:
        path: The file.
        names: Names of the arrays.
        again: What happens without the file, for the message, such as "decoding the images again".

    Returns:
        The arrays, or None if there is no file or, with a warning in the log, it is damaged.
    """
    if not path.is_file():
        return None
    try:
        # Opened here, because NumPy does not close a file that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (*DAMAGED, OSError, KeyError) as error:
        _LOG.warning("%s is damaged (%s); %s", path, error, again)
        return None


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays to a file by name, completely or not at all.

    Args:
        path: The file, `.npz`; its folder is made if necessary.
        arrays: The arrays by name.

    Raises:
        OSError: If that fails.
    """
    remove_unfinished(path.parent)
    write_atomically(path, lambda file: np.savez(file, **dict[str, Any](arrays)))


def write_cached(path: Path, arrays: Mapping[str, npt.NDArray[Any]], what: str) -> None:
    """Write arrays to a file; log a warning if that fails.

    Args:
        path: As for `write_arrays`.
        arrays: The arrays by name.
        what: What the arrays are, for the message, such as "the decoded images".
    """
    try:
        write_arrays(path, arrays)
    except OSError as error:
        _LOG.warning("cannot cache %s in %s (%s); they will be made again next time", what, path.parent, error)
