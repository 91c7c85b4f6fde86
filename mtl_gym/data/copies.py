"""Hold-out splits in which no image, nor an exact copy of it, is in two splits.

Public data sets have such copies: 10 training images of CIFAR-100 are also test images.
"""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtl_gym.data.errors import damaged

Rows = npt.NDArray[np.int64]


def fingerprints(images: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """Return one number per image, equal for equal pixels.

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
    """Split the images of a training file into training and validation images.

    Args:
        train: Fingerprints of the training file's images, ``[rows]``.
        test: Fingerprints of the test file's images.
        labels: Class of each training image, ``[rows]``.
        per_class: Number of validation images of each class.
        generator: Source of the random choice.
        origin: File or folder of the images, for the message.

    Returns:
        Training rows and validation rows, both ascending. Copies of test images are in neither; validation has only
        images without a copy in the training file.

    Raises:
        DamagedDataError: If a class has too few images.
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
    """Draw ``count`` of ``rows`` without replacement.

    Raises:
        DamagedDataError: If there are fewer rows; the message names ``origin`` and ``what``.
    """
    if len(rows) < count:
        raise damaged(origin, f"{what} has {len(rows)} usable images where {count} are needed")
    return generator.choice(rows, count, replace=False)
