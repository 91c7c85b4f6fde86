"""Where the data lies."""

import os
from pathlib import Path

import platformdirs

from mtl_gym.core.validation import short

ROOT_VARIABLE = "MTL_GYM_DATA"


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the data sets; it need not exist.

    Args:
        root: The folder, if it is known. Otherwise it is the environment variable ``MTL_GYM_DATA``, and where that is
            not set, the user's cache folder for ``mtl-gym``.

    Returns:
        The absolute path.

    Raises:
        ValueError: It can be no folder: a NUL in its name, links that lead in a circle, or no path at all.
    """
    if not isinstance(root, str | os.PathLike | None):
        raise ValueError(f"root={short(root)} is not possible; it takes a path")
    chosen = root or os.environ.get(ROOT_VARIABLE) or cache_root()
    try:
        return Path(os.path.expanduser(chosen)).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        reason = "a path holds no NUL" if isinstance(error, ValueError) else "its symbolic links lead in a circle"
        raise ValueError(f"the data root {str(chosen)!r} is no folder: {reason}; choose another") from error


def cache_root() -> Path:
    """The user's cache folder for ``mtl-gym``, for what the package works out itself; it need not exist."""
    return Path(platformdirs.user_cache_path("mtl-gym", appauthor=False))
