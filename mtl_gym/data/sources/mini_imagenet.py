"""Fifty classes of mini-ImageNet as ten random tasks of five (MIN-MTL).

Source: Rosenbaum et al. 2018, section 4: 50 labels, 10 random subsets of 5.

Deviation: the subsets are drawn without replacement, so that every label belongs to one task. The number of images per
class is that of the folders (the paper: 800 and 50); 50 training images of each class are for validation.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.data.copies import hold_out
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_lines
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.sources.decoded import SIDE, Decoded, decode, read_cache, write_cache
from mtl_gym.data.split import Split
from mtl_gym.data.vision import import_torchvision

FOLDER = "mini-imagenet"
PARTS = (f"{FOLDER}/train", f"{FOLDER}/test")
_SEED = 20183
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """Numbers of tasks, classes and validation images.

    Attributes:
        tasks: Number of tasks.
        classes: Number of classes of each task.
        validation: Number of training images of each class that are held out for validation.
    """

    tasks: int = 10
    classes: int = 5
    validation: int = 50


def build(root: Path, sizes: Sizes | None = None) -> MultiTaskDataset:
    """Build the data set from ``root/mini-imagenet/{train,test}/WNID/*.jpg``.

    Inputs are uint8 ``[3, 84, 84]``. The decoded images are cached beside the files if the folder is writable.

    Raises:
        DamagedDataError: If a file or folder is damaged; the message names it.
    """
    sizes = sizes or Sizes()
    folder = root / FOLDER
    wnids, paths, labels = _listing(folder, sizes.tasks * sizes.classes)
    decoded = _decoded(folder, [path for part in paths for path in part])
    boundary = len(paths[0])
    generator = np.random.default_rng(_SEED)
    # Drawn first, so that the tasks do not depend on the number of images.
    groups = np.sort(generator.permutation(len(wnids)).reshape(sizes.tasks, sizes.classes), axis=1)
    keys = decoded.fingerprints[:boundary], decoded.fingerprints[boundary:]
    rows, held_out = hold_out(*keys, labels[:boundary], sizes.validation, generator, folder / "train")
    places = {"train": rows, "validation": held_out, "test": np.arange(boundary, len(labels))}
    splits = {split: _split(decoded.images, labels, chosen, groups) for split, chosen in places.items()}
    names = _class_names(folder)
    class_names = tuple(tuple(names.get(wnids[label], wnids[label]) for label in group) for group in groups)
    task_names = tuple(f"group {task}" for task in range(sizes.tasks))
    return MultiTaskDataset(FOLDER, splits, task_names, class_names, *statistics(splits["train"].x))


def _split(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
) -> Split:
    place = np.argsort(groups.reshape(-1))[labels[rows]]
    return Split(
        x=torch.from_numpy(images[rows]),
        task=torch.from_numpy(place // groups.shape[1]),
        y=torch.from_numpy(place % groups.shape[1]),
    )


def _listing(folder: Path, classes: int) -> tuple[list[str], list[list[Path]], npt.NDArray[np.int64]]:
    """Return the classes, the image files of train and test, and the label of each file, train first."""
    parts = [_image_folder(folder / part) for part in ("train", "test")]
    train, test = (part.classes for part in parts)
    if train != test:
        raise damaged(
            folder, f"train and test do not have the same classes (only one has {sorted(set(train) ^ set(test))})"
        )
    if len(train) != classes:
        raise damaged(folder, f"it has {len(train)} classes where {classes} are needed")
    for part in parts:
        _tell_smaller_classes(Path(part.root), part.classes, np.bincount(part.targets))
    paths = [[Path(path) for path, _ in part.samples] for part in parts]
    return train, paths, np.concatenate([np.asarray(part.targets, np.int64) for part in parts])


def _tell_smaller_classes(folder: Path, classes: list[str], images: npt.NDArray[np.int64]) -> None:
    """Log a warning for each class with fewer images than others, the sign of an interrupted copy."""
    for wnid, found in zip(classes, images.tolist(), strict=True):
        if found < images.max():
            _LOG.warning(
                "%s has %d images where other classes have %d: its copy may be incomplete. Get the data set again.",
                folder / wnid,
                found,
                images.max(),
            )


def _image_folder(path: Path) -> Any:
    datasets = import_torchvision().datasets
    try:
        return datasets.ImageFolder(path)
    except FileNotFoundError as error:
        raise damaged(path, f"it needs one folder per class, each with images ({error})") from error


def _decoded(folder: Path, paths: list[Path]) -> Decoded:
    listing = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in paths)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    cached = read_cache(folder, digest, len(paths))
    if cached is not None:
        return cached
    _LOG.info("decoding %d images of %d by %d pixels in %s", len(paths), SIDE, SIDE, folder)
    fresh = decode(paths)
    write_cache(folder, digest, fresh)
    return fresh


def _class_names(folder: Path) -> dict[str, str]:
    path = folder / "classes.txt"
    if not path.is_file():
        return {}
    lines = (line.decode("utf-8", errors="replace") for line in read_lines(path))
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
