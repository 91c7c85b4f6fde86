"""Small data sets in the bundled ones' file formats, and what tests ask of every data set."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import torch

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.copies import fingerprints
from mtl_gym.data.sources import cifar


def images_of(data: MultiTaskDataset) -> dict[str, set[int]]:
    return {name: set(fingerprints(split.x.numpy()).tolist()) for name, split in data.splits.items()}


def assert_no_image_in_two_splits(data: MultiTaskDataset) -> None:
    found = images_of(data)
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]


def digest(data: MultiTaskDataset, *splits: str) -> str:
    """What the inputs, tasks and labels of some splits come to, in their order."""
    parts = [part for name in splits for part in (data.split(name).x, data.split(name).task, data.split(name).y)]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]


def rows_of_each_task(data: MultiTaskDataset, split: str) -> list[int]:
    return torch.bincount(data.split(split).task, minlength=data.num_tasks).tolist()


def write_mnist(root: Path, train: int = 12, test: int = 5, packed: bool = False) -> Path:
    """Writes the four MNIST files with random images, so many of each digit; returns their folder."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, per_digit in (("train", train), ("t10k", test)):
        labels = generator.permutation(np.repeat(np.arange(10), per_digit)).astype(np.uint8)
        images = generator.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        images[:, 0, 0] = labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
            path = folder / f"{part}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def cifar_arrays(train: int = 4, test: int = 2) -> dict[str, np.ndarray]:
    """The arrays of cifar100.npz with random images, so many of each fine class."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"fine_to_coarse": np.array(cifar.FINE_TO_COARSE, np.uint8)}
    for part, per_class in (("train", train), ("test", test)):
        fine = generator.permutation(np.repeat(np.arange(100), per_class)).astype(np.uint8)
        images = generator.integers(0, 256, (len(fine), 32, 32, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = fine
        arrays |= {f"{part}_images": images, f"{part}_fine": fine}
    return arrays
