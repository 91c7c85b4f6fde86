"""Samples of several tasks, as every door reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mtl_gym.core.validation import short
from mtl_gym.data.split import SPLITS

Codes = npt.NDArray[np.int64]
# Names that users give to the three splits.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class Categories:
    """Names, and the number of each sample's name.

    Attributes:
        codes: Position in `names`, int64 `[samples]`.
        names: The names; those of two tasks may be equal.
    """

    codes: Codes
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of several tasks before they are split.

    Attributes:
        x: Inputs, `[inputs, *input_shape]`, uint8 or float32.
        row: Input of each sample, int64 `[samples]`; samples of several tasks may share one.
        task: Task of each sample.
        label: Label of each sample.
        split: Split of each sample, positions in `SPLITS`, int64 `[samples]`.
        label_source: Origin of the labels, for messages, such as "column 'label'".
    """

    x: Tensor
    row: Codes
    task: Categories
    label: Categories
    split: Codes
    label_source: str


def split_name(where: str, given: object) -> str:
    """Return the split that a user's name stands for.

    Raises:
        ValueError: If the name stands for no split.

    Example:
        >>> split_name("frame 'books'", "val")
        'validation'
    """
    found = SPLIT_NAMES.get(given.lower()) if isinstance(given, str) else None
    if found is None:
        raise ValueError(
            f"{where}: {short(given)} is no split; name the splits {', '.join(SPLITS)}, and leave out what is neither"
        )
    return found


def distinct_splits(where: str, given: Sequence[object]) -> list[int]:
    """Return the positions in `SPLITS` that a user's names of splits stand for.

    Raises:
        ValueError: If a name stands for no split, two names for the same one, or there is no training split.
    """
    found = [split_name(where, name) for name in given]
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise ValueError(f"{where} has {list(given)}, of which several are {repeated[0]!r}; keep one of them")
    if "train" not in found:
        raise ValueError(f"{where} has the splits {list(given)} and no training rows; add a split 'train'")
    return [SPLITS.index(name) for name in found]


def check_training(where: str, split: Codes) -> None:
    """Raise ValueError if no row is for training; positions in `SPLITS`, int64 `[rows]`."""
    if not (split == SPLITS.index("train")).any():
        raise ValueError(f"{where} has no training rows: its split 'train' is empty; add rows")
