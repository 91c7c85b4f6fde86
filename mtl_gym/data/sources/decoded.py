"""Decoding of tens of thousands of JPEG files, with a cache of their pixels."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtl_gym.data.caching import read_cached, write_cached
from mtl_gym.data.copies import fingerprints
from mtl_gym.data.errors import damaged

SIDE = 84
CACHE_NAME = "decoded-v1.npz"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoded images and their fingerprints.

    Attributes:
        images: uint8 ``[rows, 3, 84, 84]``.
        fingerprints: uint64 ``[rows]``.
    """

    images: npt.NDArray[np.uint8]
    fingerprints: npt.NDArray[np.uint64]


def decode(paths: Sequence[Path]) -> Decoded:
    """Decode image files, in the given order.

    Raises:
        DamagedDataError: If a file is not an image, is cut off, or is not 84 by 84 pixels.
    """
    images = np.empty((len(paths), 3, SIDE, SIDE), np.uint8)
    for row, path in enumerate(paths):
        images[row] = _pixels(path)
    return Decoded(images, fingerprints(images))


def read_cache(folder: Path, digest: str, rows: int) -> Decoded | None:
    """Read the pixels cached by ``write_cache``.

    Args:
        folder: Folder of the cache file.
        digest: Digest of the current names and sizes of the image files.
        rows: Number of image files.

    Returns:
        The pixels, or None if there is no cache or, with a warning in the log, if the cache is damaged or belongs to
        other files.
    """
    path = folder / CACHE_NAME
    found = read_cached(path, ("digest", "images", "fingerprints"), "decoding the images again")
    if found is None:
        return None
    decoded = Decoded(found["images"], found["fingerprints"])
    if str(found["digest"]) != digest or not _fits(decoded, rows):
        _LOG.warning("%s does not belong to the images beside it; decoding them again", path)
        return None
    return decoded


def write_cache(folder: Path, digest: str, decoded: Decoded) -> None:
    """Write the pixels to a cache in ``folder``; log a warning if that fails."""
    arrays = {"digest": np.array(digest), "images": decoded.images, "fingerprints": decoded.fingerprints}
    write_cached(folder / CACHE_NAME, arrays, "the decoded images")


def _fits(decoded: Decoded, rows: int) -> bool:
    images, keys = decoded.images, decoded.fingerprints
    right_images = images.dtype == np.uint8 and images.shape == (rows, 3, SIDE, SIDE)
    return right_images and keys.dtype == np.uint64 and keys.shape == (rows,)


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise damaged(path, f"it cannot be decoded ({error})") from error
    if pixels.shape != (SIDE, SIDE, 3):
        raise damaged(path, f"it is {pixels.shape[1]} by {pixels.shape[0]} pixels, not {SIDE} by {SIDE}")
    return np.moveaxis(pixels, -1, 0)
