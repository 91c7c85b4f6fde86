"""Data of `auxiliary.py`: a target with few labelled samples beside tasks with many, as fixed features.

The target is task 0. Features are computed once, without labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.data import MultiTaskDataset, Split, load
from mtl_gym.data.encoders import principal_components
from mtl_gym.data.split import SPLITS
from mtl_gym.data.stratified import proportional_rows

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scarcity:
    """Number of samples of each task.

    Attributes:
        few: Training samples of the target.
        train: Training samples of every other task, at most.
        validation: Validation samples of every task.
    """

    few: int
    train: int
    validation: int


def scarce(
    source: MultiTaskDataset, features: Mapping[str, Floats], target: str, seed: int, size: Scarcity
) -> MultiTaskDataset:
    """Return a data set whose first task is the target with few training samples; test samples are all.

    Args:
        source: Data set with all samples.
        features: Features of each split, [rows, width].
        target: Name of the target.
        seed: Seed of the choice of training samples, stratified by label.
        size: Numbers of samples.
    """
    names = (target, *(name for name in source.task_names if name != target))
    number = {source.task_names.index(name): place for place, name in enumerate(names)}
    splits = {}
    for split in SPLITS:
        task, y = (part.numpy() for part in (source.splits[split].task, source.splits[split].y))
        rows = np.concatenate([_chosen(split, task, y, own, place == 0, seed, size) for own, place in number.items()])
        own_task = torch.tensor([number[own] for own in task[rows].tolist()])
        splits[split] = Split(torch.from_numpy(features[split][rows]), own_task, torch.from_numpy(y[rows]))
    classes = tuple(source.class_names[source.task_names.index(name)] for name in names)
    return MultiTaskDataset(f"{source.name}, {size.few} of {target}", splits, names, classes)


def _chosen(
    split: str, task: NDArray[np.int64], y: NDArray[np.int64], own: int, is_target: bool, seed: int, size: Scarcity
) -> NDArray[np.int64]:
    rows = np.flatnonzero(task == own)
    if split == "test":
        return rows
    count = size.validation if split == "validation" else size.few if is_target else size.train
    return rows[proportional_rows(y[rows], count, np.random.default_rng([seed, own, split == "train"]))]


def features_of(name: str, width: int, data_root: str | None) -> tuple[MultiTaskDataset, dict[str, Floats]]:
    """Return a data set, and its features: principal components of what an encoder gives, each of unit variance.

    Args:
        name: Name of a data set of texts or images.
        width: Number of features.
        data_root: Folder of the data, where the encoder's features are cached.
    """
    source = load(name, data_root)
    featured = load(name, data_root, features="lsa" if source.has_text else "patches")
    x = {split: featured.inputs(split, torch.arange(len(part))) for split, part in featured.splits.items()}
    components = principal_components(x["train"], width)
    components /= (x["train"] @ components).std(0)
    return source, {split: (part @ components).numpy() for split, part in x.items()}
