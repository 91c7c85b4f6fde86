"""Holding images out so that no image, nor an exact copy of it, is in two splits.

Public sets have such copies: CIFAR-100 has 10 training images that are test images as well.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtl_gym.data.errors import damaged

Rows = npt.NDArray[np.int64]


def fingerprints(images: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """One number per image, the same for the same pixels.

    Args:
        images: ``[rows, ...]``, any dtype.

    Returns:
        uint64 ``[rows]``.
    """
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), np.uint64)


def hold_out(
    train: npt.NDArray[np.uint64],
    test: npt.NDArray[np.uint64],
    labels: npt.NDArray[np.int64],
    per_class: int,
    generator: np.random.Generator,
    origin: Path,
) -> tuple[Rows, Rows]:
    """Parts the images of a training file into those to train on and those to validate on.

    Args:
        train: Fingerprints of the training file's images, ``[rows]``.
        test: Fingerprints of the test file's images.
        labels: Class of each training image, ``[rows]``.
        per_class: How many images of each class go to validation.
        generator: Decides which.
        origin: Where the images are from, for the message.

    Returns:
        Rows to train on and rows to validate on, both ascending. Copies of test images are in neither; validation has
        only images without a copy in the training file.

    Raises:
        DamagedDataError: A class has too few images.
    """
    leaked = np.isin(train, test)
    _, group, copies = np.unique(train, return_inverse=True, return_counts=True)
    eligible = ~leaked & (copies[group] == 1)
    held_out = np.concatenate(
        [
            choose(np.flatnonzero(eligible & (labels == label)), per_class, generator, origin, f"class {label}")
            for label in np.unique(labels)
        ]
    )
    kept = ~leaked
    kept[held_out] = False
    return np.flatnonzero(kept), np.sort(held_out)


def choose(rows: Rows, count: int, generator: np.random.Generator, origin: Path, what: str) -> Rows:
    """Draws ``count`` of ``rows`` without replacement.

    Raises:
        DamagedDataError: There are fewer; ``origin`` and ``what`` say of what.
    """
    if len(rows) < count:
        raise damaged(origin, f"{what} has {len(rows)} usable images where {count} are needed")
    return generator.choice(rows, count, replace=False)
