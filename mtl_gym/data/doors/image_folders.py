"""Samples of folders of images, as torchvision's `ImageFolder` lays them out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.core.validation import short
from mtl_gym.data.doors.columns import joined, names_of
from mtl_gym.data.doors.samples import SPLIT_NAMES, Categories, Codes, Samples, distinct_splits
from mtl_gym.data.vision import import_torchvision

PathLike: TypeAlias = str | os.PathLike[str]
Tasks: TypeAlias = Mapping[str, Sequence[str]] | Literal["one-vs-rest"] | None
Size: TypeAlias = int | tuple[int, int] | None
ONE_VS_REST = "one-vs-rest"
LONGEST_SIDE = 4096  # a longer one is a typing error that exhausts the memory
_DEEP_MODES = ("I", "F")  # PIL's modes of 16 and 32 bits begin so; conversion to 8 bits clips their values
_SYSTEM_FOLDERS = ("__MACOSX",)  # holds no images, although its files are named as images


@dataclass(frozen=True, eq=False)
class _Images:
    """Listed images: path, class and split of each, and the names of the classes."""

    paths: list[Path]
    label: Categories
    split: Codes


def read_image_folders(name: str, folders: PathLike | Mapping[str, PathLike], tasks: Tasks, size: Size) -> Samples:
    """Return the samples of image folders.

    Args:
        name: Name of the data set.
        folders: Folder of each task, or one folder.
        tasks: Classes of each task, or "one-vs-rest", if one folder holds the classes of all tasks; None if each task
            has a folder.
        size: Side, or height and width, to which images are resized; None if all have one size.

    Raises:
        ValueError: If a folder or class does not exist, holds no images, or images have different sizes.
    """
    where = f"data set {name!r}"
    _check_size(where, size)
    if tasks is None:
        listed = _listed_by_task(where, folders)
        images = [path for part in listed.values() for path in part.paths]
        parts = list(listed.values())
        task = Categories(np.repeat(np.arange(len(parts)), [len(part.paths) for part in parts]), tuple(listed))
        label, split = joined([part.label for part in parts]), np.concatenate([part.split for part in parts])
        return Samples(_decoded(where, images, size), np.arange(len(images)), task, label, split, "the folders")
    if isinstance(folders, Mapping):
        raise ValueError(f"{where}: folders has a folder per task, and tasks={short(tasks)} too; use one of them")
    listing = _listed(where, _folder(where, folders))
    rows, task, label = _grouped(where, listing, tasks)
    kept, row = np.unique(rows, return_inverse=True)
    x = _decoded(where, [listing.paths[image] for image in kept], size)
    return Samples(x, row.astype(np.int64), task, label, listing.split[rows], "the folders")


def _folder(where: str, path: object) -> Path:
    if not isinstance(path, str | os.PathLike) or not Path(path).is_dir():
        raise ValueError(f"{where}: {short(path)} is no folder; give the folder that holds a folder per class")
    return Path(path)


def _subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden ones and those of the system."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    return [name for name in names if not name.startswith(".") and name not in _SYSTEM_FOLDERS]


def _by_split(where: str, folder: Path) -> dict[str, Path]:
    """Return the folder of each split if the subfolders are named as splits, else the folder itself as training.

    A split holds folders, so that a class of images may be named "train".
    """
    names = _subfolders(folder)
    splits = [name for name in names if name.lower() in SPLIT_NAMES]
    others = [name for name in names if name not in splits]
    if not splits or (others and not any(_subfolders(folder / name) for name in splits)):
        return {"train": folder}
    if others:
        raise ValueError(
            f"{where}: {folder} holds {', '.join(map(repr, others))} beside the splits {', '.join(splits)}; move away "
            "what is no split, or rename a class or task that has the name of a split"
        )
    distinct_splits(f"{where}, {folder}", names)
    return {name: folder / name for name in names}


def _listed_by_task(where: str, folders: PathLike | Mapping[str, PathLike]) -> dict[str, _Images]:
    """Return the images of each task, from a mapping, `folder/TASK` or `folder/SPLIT/TASK`."""
    if isinstance(folders, Mapping):
        if not folders:
            raise ValueError(f"{where}: folders={folders} names no task; give the folder of each")
        named = [name for name in folders if str(name).lower() in SPLIT_NAMES]
        if len(named) > 1:
            raise ValueError(
                f"{where}: folders has the splits {', '.join(named)}, but takes the folder of each task; give the "
                "folder above them, or other names to the tasks"
            )
        return {str(task): _listed(where, _folder(where, path)) for task, path in folders.items()}
    root = _folder(where, folders)
    splits = _by_split(where, root)
    if list(splits.values()) == [root]:
        return {task: _listed(where, root / task) for task in _subfolders(root)}
    tasks = list(dict.fromkeys(task for folder in splits.values() for task in _subfolders(folder)))
    return {
        task: _listed_in(
            f"{where}, task {task!r}",
            {name: folder / task for name, folder in splits.items() if (folder / task).is_dir()},
        )
        for task in tasks
    }


def _listed(where: str, folder: Path) -> _Images:
    return _listed_in(where, _by_split(where, folder))


def _listed_in(where: str, splits: Mapping[str, Path]) -> _Images:
    """List the images of each split with torchvision, whose rules tell images from other files."""
    positions = distinct_splits(where, list(splits))
    names = sorted({name for folder in splits.values() for name in _subfolders(folder)})
    parts = [_samples(where, folder, names) for folder in splits.values()]
    samples = [sample for part in parts for sample in part]
    return _Images(
        paths=[Path(path) for path, _ in samples],
        label=Categories(np.array([label for _, label in samples], np.int64), tuple(names)),
        split=np.repeat(positions, [len(part) for part in parts]),
    )


def _samples(where: str, folder: Path, names: list[str]) -> list[tuple[str, int]]:
    """Return path and class of each image in the folders of one split; classes are positions in `names`."""
    classes = {name: names.index(name) for name in _subfolders(folder)}
    listing = import_torchvision().datasets.folder
    try:
        samples: list[tuple[str, int]] = listing.make_dataset(folder, classes, listing.IMG_EXTENSIONS)
    except (FileNotFoundError, ValueError) as error:  # a folder without images, and no folder at all
        reason = f" ({str(error).strip()})" if classes else ""
        raise ValueError(
            f"{where}: {folder} holds the folders {list(classes)}, but needs a folder of images for each class{reason}"
        ) from None
    return samples


def _grouped(where: str, images: _Images, tasks: object) -> tuple[Codes, Categories, Categories]:
    """Return image, task and label of each sample, where one listing serves all tasks."""
    codes, names = images.label.codes, images.label.names
    if tasks == ONE_VS_REST:
        rows = np.tile(np.arange(len(codes)), len(names))
        task = Categories(np.repeat(np.arange(len(names)), len(codes)), names)
        return rows, task, Categories((codes[rows] == task.codes).astype(np.int64), ("another class", "this class"))
    if not isinstance(tasks, Mapping) or not tasks:
        raise ValueError(
            f"{where}: tasks={short(tasks)} is not possible; it takes {ONE_VS_REST!r} or the classes of each task, "
            "{task: [class, ...]}"
        )
    chosen = [_class_numbers(f"{where}, task {task!r}", classes, names) for task, classes in tasks.items()]
    parts = [np.flatnonzero(np.isin(codes, numbers)) for numbers in chosen]
    rows = np.concatenate(parts)
    task = Categories(np.repeat(np.arange(len(parts)), [len(part) for part in parts]), tuple(map(str, tasks)))
    return rows, task, Categories(codes[rows], names)


def _class_numbers(where: str, classes: object, names: Sequence[str]) -> list[int]:
    """Return the positions in `names` of the classes of a task."""
    named = names_of(classes)
    if isinstance(classes, str) or not named:
        raise ValueError(f"{where}: {short(classes)} is no list of classes; list two or more of {', '.join(names)}")
    absent = [name for name in named if name not in names]
    if absent:
        raise ValueError(f"{where}: there is no class {absent[0]!r} among {', '.join(names)}")
    return [names.index(name) for name in named]


def _check_size(where: str, size: object) -> None:
    sides = size if isinstance(size, tuple) and len(size) == 2 else (size,)
    if size is not None and not all(type(side) is int and 0 < side <= LONGEST_SIDE for side in sides):
        raise ValueError(
            f"{where}: size={short(size)} is not possible; it takes a side such as 32, or (height, width), of at most "
            f"{LONGEST_SIDE:,} pixels"
        )


def _decoded(where: str, paths: Sequence[Path], size: Size) -> torch.Tensor:
    """Return all images as uint8 `[images, 3, height, width]`."""
    first = _pixels(where, paths[0], size)
    images = np.empty((len(paths), *first.shape), np.uint8)
    for row, path in enumerate(paths):
        pixels = _pixels(where, path, size)
        if pixels.shape != first.shape:
            sizes = " and ".join(f"{shape[1]} by {shape[0]}" for shape in (first.shape, pixels.shape))
            raise ValueError(
                f"{where}: images have different sizes, {sizes} pixels ({paths[0].name} and {path}); "
                "resize them with size=32 or size=(height, width)"
            )
        images[row] = pixels
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _pixels(where: str, path: Path, size: Size) -> npt.NDArray[np.uint8]:
    from PIL import Image

    if not path.is_file():  # reading a FIFO would wait for its writer
        raise ValueError(f"{where}: {path} is no regular file; delete it")
    try:
        with Image.open(path) as image:
            mode, picture = image.mode, image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: {path} cannot be read as an image ({error}); delete it or get it again") from None
    if mode[0] in _DEEP_MODES:
        raise ValueError(
            f"{where}: {path} has more than 8 bits per pixel (PIL's mode {mode!r}), which inputs of uint8 cannot hold; "
            "scale its values to 0 to 255 and save it with 8 bits"
        )
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture)
