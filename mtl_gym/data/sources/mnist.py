"""MNIST as ten one-vs-rest tasks (MNIST-MTL).

Source: Rosenbaum et al. 2018, section 4: 1,000 images of each digit per task for training and 200 in all for test.
"""

import gzip
import math
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.data.copies import choose, fingerprints, hold_out
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_bytes, tell_difference
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.sources.one_vs_rest import CLASS_NAMES, DIGITS, TASK_NAMES, one_vs_rest
from mtl_gym.data.split import Split
from mtl_gym.data.vision import import_torchvision

RAW = "MNIST/raw"
UNPACKED = tuple(f"{RAW}/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
PACKED = tuple(f"{name}.gz" for name in UNPACKED)
_SEED = 20181


@dataclass(frozen=True)
class DigitCounts:
    """Numbers of images of each digit.

    Attributes:
        train: Training images of each task.
        validation: Validation images of each task.
        test: Test images of each task.
        held_out: Images of the training file from which the tasks draw their validation images.
    """

    train: int = 1000
    validation: int = 100
    test: int = 20
    held_out: int = 1000


def build(root: Path, counts: DigitCounts | None = None) -> MultiTaskDataset:
    """Build the data set from the four files in ``root/MNIST/raw``, unpacked or as ``.gz``.

    Inputs are uint8 ``[1, 28, 28]``. Each task draws its own images, so several tasks may share an image, but no two
    splits do.

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    counts = counts or DigitCounts()
    generator = np.random.default_rng(_SEED)
    with _unpacked(root) as folder:
        train_images, train_digits = _read(folder, root, train=True)
        test_images, test_digits = _read(folder, root, train=False)
    keys = fingerprints(train_images.numpy()), fingerprints(test_images.numpy())
    train, validation = hold_out(*keys, train_digits, counts.held_out, generator, root / RAW)
    everything = np.arange(len(test_digits))
    splits = {
        "train": _draw(train_images, train_digits, train, counts.train, generator, root),
        "validation": _draw(train_images, train_digits, validation, counts.validation, generator, root),
        "test": _draw(test_images, test_digits, everything, counts.test, generator, root),
    }
    return MultiTaskDataset("mnist", splits, TASK_NAMES, CLASS_NAMES, *statistics(splits["train"].x))


def _draw(
    images: Tensor,
    digits: npt.NDArray[np.int64],
    candidates: npt.NDArray[np.int64],
    per_digit: int,
    generator: np.random.Generator,
    root: Path,
) -> Split:
    pools = [candidates[digits[candidates] == digit] for digit in range(DIGITS)]
    rows = [
        np.concatenate(
            [choose(pool, per_digit, generator, root / RAW, f"digit {digit}") for digit, pool in enumerate(pools)]
        )
        for _ in range(DIGITS)
    ]
    return one_vs_rest(images, digits, rows)


def _read(folder: Path, root: Path, train: bool) -> tuple[Tensor, npt.NDArray[np.int64]]:
    part = "train" if train else "t10k"
    images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    rows = _check_idx(folder / RAW / images, root, axes=3)
    if _check_idx(folder / RAW / labels, root, axes=1) != rows:
        raise damaged(_shown(root, labels), f"it does not have one label for each of the {rows} images")
    for name, unit in ((images, "images"), (labels, "labels")):
        tell_difference(_shown(root, name), read_bytes(folder / RAW / name), rows, unit, key=f"raw/{name}")
    data = import_torchvision().datasets.MNIST(folder, train=train)
    digits = data.targets.numpy().astype(np.int64)
    if digits.max() >= DIGITS:
        raise damaged(_shown(root, labels), f"it holds the label {digits.max()}, but digits are 0 to 9")
    if data.data.shape[1:] != (28, 28):
        raise damaged(_shown(root, images), f"its images are {tuple(data.data.shape[1:])}, not 28 by 28")
    return data.data.unsqueeze(1).to(torch.uint8), digits


def _check_idx(path: Path, root: Path, axes: int) -> int:
    """Return the number of rows of an idx file after a check of its size, for which torchvision has bare asserts."""
    header = read_bytes(path)[: 4 * (axes + 1)]
    if len(header) < 4 * (axes + 1):
        raise damaged(_shown(root, path.name), f"its header is cut off after {len(header)} bytes")
    magic, *shape = struct.unpack(f">{axes + 1}I", header)
    if magic != 0x0800 + axes:
        raise damaged(
            _shown(root, path.name), f"it starts with {magic:#010x}, but an idx file with {0x0800 + axes:#010x}"
        )
    expected = len(header) + math.prod(shape)
    if path.stat().st_size != expected or not shape[0]:
        raise damaged(_shown(root, path.name), f"it has {path.stat().st_size} bytes, but its header says {expected}")
    return int(shape[0])


def _shown(root: Path, name: str) -> Path:
    plain = root / RAW / name
    return plain if plain.exists() else plain.with_name(f"{name}.gz")


@contextmanager
def _unpacked(root: Path) -> Iterator[Path]:
    """Yield a root with unpacked files for torchvision, a temporary one if need be: the user's may be read-only."""
    if all((root / name).is_file() for name in UNPACKED):
        yield root
        return
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / RAW).mkdir(parents=True)
        for packed, unpacked in zip(PACKED, UNPACKED, strict=True):
            _unpack(root / packed, Path(scratch) / unpacked)
        yield Path(scratch)


def _unpack(packed: Path, target: Path) -> None:
    try:
        with gzip.open(packed, "rb") as source, target.open("wb") as plain:
            shutil.copyfileobj(source, plain)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(packed, f"it cannot be unpacked ({error})") from error
