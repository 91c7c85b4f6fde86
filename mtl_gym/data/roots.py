"""Where the data lies."""

import os
from pathlib import Path

import platformdirs

ROOT_VARIABLE = "MTL_GYM_DATA"


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the data sets; it need not exist.

    Args:
        root: The folder, if it is known. Otherwise it is the environment variable ``MTL_GYM_DATA``, and where that is
            not set, the user's cache folder for ``mtl-gym``.

    Returns:
        The absolute path.
    """
    chosen = root or os.environ.get(ROOT_VARIABLE) or platformdirs.user_cache_path("mtl-gym", appauthor=False)
    return Path(chosen).expanduser().resolve()
