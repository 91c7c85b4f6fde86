"""Folders of the data."""

import os
from pathlib import Path

import platformdirs

from mtl_gym.core.validation import short

ROOT_VARIABLE = "MTL_GYM_DATA"


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the data sets, which need not exist.

    Args:
        root: The folder. Default: the environment variable ``MTL_GYM_DATA``, or the user's cache folder for ``mtl-gym``
            if it is not set.

    Returns:
        The absolute path.

    Raises:
        ValueError: If ``root`` is not a path, has NUL in its name, or its symbolic links form a loop.
    """
    if not isinstance(root, str | os.PathLike | None):
        raise ValueError(f"root={short(root)} is not possible; it takes a path")
    chosen = root or os.environ.get(ROOT_VARIABLE) or cache_root()
    try:
        return Path(os.path.expanduser(chosen)).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        reason = "a path cannot hold NUL" if isinstance(error, ValueError) else "its symbolic links form a loop"
        raise ValueError(f"the data root {str(chosen)!r} is no folder: {reason}; choose another") from error


def cache_root() -> Path:
    """Return the user's cache folder for ``mtl-gym``, for computed files; it need not exist."""
    return Path(platformdirs.user_cache_path("mtl-gym", appauthor=False))
