"""Your own data set from a file of NumPy arrays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtl_gym.data.caching import DAMAGED
from mtl_gym.data.dataset import MultiTaskDataset

ARRAYS = ("x", "y", "task")
_WRITE = "write it with numpy.savez(path, x=inputs, y=labels, task=tasks)"


def read_npz(path: str | os.PathLike[str]) -> MultiTaskDataset:
    """Read a data set from a `.npz` file, and split it as `MultiTaskDataset.from_tasks` does.

    Args:
        path: File of three arrays: `x`, inputs [rows, *input_shape]; `y` [rows], labels 0, 1, 2, ... or the names of
            classes; `task` [rows], numbers or names of tasks. No code in it is run.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is damaged or lacks an array, or the arrays do not fit.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> x, y, task = np.eye(12), np.tile(["no", "yes"], 6), np.repeat(["odd", "even"], 6)
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(Path(folder) / "own.npz", x=x, y=y, task=task)
        ...     read_npz(Path(folder) / "own.npz").class_names
        (('no', 'yes'), ('no', 'yes'))
    """
    x, y, task = _read(Path(path))
    for name, array in (("y", y), ("task", task)):
        if array.shape != (len(x),):
            raise ValueError(
                f"{path}: {name} has shape {list(array.shape)}, but x has {len(x)} rows; give a value per row."
            )
    rows = {str(name): np.flatnonzero(task == name) for name in np.unique(task)}
    names = {} if y.dtype.kind != "U" else {name: np.unique(y[own]) for name, own in rows.items()}
    labels = {name: np.searchsorted(names[name], y[own]) if names else y[own] for name, own in rows.items()}
    tables = {name: (x[own], labels[name]) for name, own in rows.items()}
    classes = {name: known.tolist() for name, known in names.items()} or None
    return MultiTaskDataset.from_tasks(Path(path).stem, tables, class_names=classes)


def _read(path: Path) -> list[npt.NDArray[np.generic]]:
    names, arrays = _stored(path)
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path} has no array {missing[0]!r}, but {', '.join(names) or 'none'}; {_WRITE}.")
    return [np.atleast_1d(arrays[name]) for name in ARRAYS]


def _stored(path: Path) -> tuple[list[str], dict[str, npt.NDArray[np.generic]]]:
    """Return the names of all arrays of a file, and those arrays of `ARRAYS` that it has."""
    try:
        # Opened here, as np.load leaves the file of a damaged archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return file.files, {name: file[name] for name in ARRAYS if name in file.files}
    except DAMAGED as error:
        raise ValueError(f"{path} is no file of plain arrays ({error}); {_WRITE}.") from error
