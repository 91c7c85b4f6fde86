"""Thirty linear regressions in three groups; within a group, weight vectors differ only by a scalar.

Source: Kang, Grauman, Sha 2011, section 4.1; MUiR, section 4.1, which withholds 5 of the 15 training samples of each
task for validation.

Deviation: the paper does not state which 5; here they are the last 5 of each task.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.data.collection import TaskCollection, TaskData
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_bytes, tell_difference

FILES = ("linear30.npz",)
GROUPS, TASKS_PER_GROUP = 3, 10
TASKS, INPUTS, TRAINING, VALIDATION, TEST = GROUPS * TASKS_PER_GROUP, 20, 15, 5, 50
NOISE = 0.32
# Norms of weight vectors are distributed as absolute values of normal numbers with this standard deviation, as in the
# paper's own data.
SPREAD = 3.5
_SHAPES = {
    "train_x": (TASKS, TRAINING, INPUTS),
    "train_y": (TASKS, TRAINING),
    "test_x": (TASKS, TEST, INPUTS),
    "test_y": (TASKS, TEST),
    "noisy_train_y": (TASKS, TRAINING),
    "noisy_test_y": (TASKS, TEST),
}

Arrays = dict[str, npt.NDArray[np.float64]]


def build(root: Path) -> TaskCollection:
    """Build the data set with clean targets from `linear30.npz`, the paper's own data, or generate it without the file.

    Raises:
        DamagedDataError: If the file is damaged.
    """
    return collection("linear", _arrays(root), "")


def build_noisy(root: Path) -> TaskCollection:
    """Build the data set as `build`, with noise of standard deviation 0.32 on all targets."""
    return collection("linear-noisy", _arrays(root), "noisy_")


def build_generated(root: Path) -> TaskCollection:
    """Generate the data set with clean targets; `root` is ignored."""
    return collection("generated-linear", generate(), "")


def build_generated_noisy(root: Path) -> TaskCollection:
    """Generate the data set with noisy targets; `root` is ignored."""
    return collection("generated-linear-noisy", generate(), "noisy_")


def collection(name: str, arrays: Arrays, targets: str) -> TaskCollection:
    """Build the data set from arrays with the keys and shapes of `linear30.npz`; `targets` is "" or "noisy_"."""
    x, y = _float(arrays["train_x"]), _float(arrays[f"{targets}train_y"])[..., None]
    test_x, test_y = _float(arrays["test_x"]), _float(arrays[f"{targets}test_y"])[..., None]
    kept = TRAINING - VALIDATION
    tasks = []
    for task in range(TASKS):
        splits = {
            "train": (x[task, :kept], y[task, :kept]),
            "validation": (x[task, kept:], y[task, kept:]),
            "test": (test_x[task], test_y[task]),
        }
        tasks.append(TaskData(f"task {task}", "regression", splits, 1))
    return TaskCollection(name, tasks, tuple(task // TASKS_PER_GROUP for task in range(TASKS)))


def generate(seed: int = 0) -> Arrays:
    """Generate float64 arrays with the keys, shapes and statistics of the paper's own data.

    Inputs are uniform in [-1, 1]; each group has one direction, drawn uniformly; the norms of its weight vectors are
    evenly spaced quantiles of the half-normal distribution, from 0.2 to 6.9; the noise is normal.

    Example:
        >>> arrays = generate()
        >>> arrays["train_x"].shape, round(float((arrays["noisy_test_y"] - arrays["test_y"]).std()), 1)
        ((30, 15, 20), 0.3)
    """
    random = np.random.default_rng(seed)
    directions = random.normal(size=(GROUPS, 1, INPUTS))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    ranks = np.stack([random.permutation(TASKS_PER_GROUP) for _ in range(GROUPS)])
    weights = (directions * _norms()[ranks][..., None]).reshape(TASKS, INPUTS)
    arrays = {}
    for part, rows in (("train", TRAINING), ("test", TEST)):
        arrays[f"{part}_x"] = random.uniform(-1, 1, (TASKS, rows, INPUTS))
        arrays[f"{part}_y"] = np.einsum("tri,ti->tr", arrays[f"{part}_x"], weights)
        arrays[f"noisy_{part}_y"] = arrays[f"{part}_y"] + random.normal(0, NOISE, (TASKS, rows))
    return arrays


def _norms() -> npt.NDArray[np.float64]:
    """Return the norms of the weight vectors of a group, ascending."""
    shares = (np.arange(TASKS_PER_GROUP) + 0.5) / TASKS_PER_GROUP
    return SPREAD * np.array([NormalDist().inv_cdf((1 + share) / 2) for share in shares])


def _arrays(root: Path) -> Arrays:
    path = root / FILES[0]
    return _read(path) if path.is_file() else generate()


def _read(path: Path) -> Arrays:
    content = read_bytes(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            found = {key: archive[key] for key in _SHAPES if key in archive}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
        raise damaged(path, f"it cannot be read as npz ({error})") from error
    for key, shape in _SHAPES.items():
        if key not in found:
            raise damaged(path, f"it has no array {key}")
        _check(path, key, found[key], shape)
    tell_difference(path, content, TASKS, "tasks", key=FILES[0])
    return found


def _check(path: Path, key: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.dtype.kind != "f" or array.shape != shape:
        raise damaged(path, f"its {key} is {array.dtype} {list(array.shape)}, not float64 {list(shape)}")
    if not np.isfinite(array).all():
        raise damaged(path, f"its {key} holds NaN or infinity")


def _float(array: npt.NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
