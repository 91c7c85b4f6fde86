"""Data of `auxiliary.py`: a target with few labelled samples beside tasks with many, as fixed features.

The target is task 0. Features are computed once, without labels, and kept in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mtl_gym.data import MultiTaskDataset, Split, load
from mtl_gym.data.bags import bag_of_words
from mtl_gym.data.split import SPLITS
from mtl_gym.data.stratified import proportional_rows

Floats = NDArray[np.float32]
# Random patches of images as filters: number, width, and step between places.
FILTERS, PATCH, STRIDE, AT_ONCE = 64, 6, 2, 1000


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


def features_of(study: str, out: Path, width: int, data_root: str | None) -> tuple[MultiTaskDataset, dict[str, Floats]]:
    """Return a data set and its features, read from a file in `out` or computed and kept there.

    Args:
        study: "reviews" or "cifar".
        out: Folder of the file.
        width: Number of features.
        data_root: Folder of the data.
    """
    source, path = load(study, data_root), out / f"{study}-{width}-features.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **(_text_features if study == "reviews" else _image_features)(source, width))
    with np.load(path) as file:
        return source, {split: file[split] for split in SPLITS}


def _text_features(source: MultiTaskDataset, width: int) -> dict[str, Floats]:
    """Return the leading singular vectors of the words' tf-idf, fitted on training texts, each of unit variance."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.pipeline import make_pipeline

    bags = {name: split.x.numpy() for name, split in bag_of_words(source).splits.items()}
    model = make_pipeline(TfidfTransformer(), TruncatedSVD(width, n_iter=3, random_state=0)).fit(_sparse(bags["train"]))
    return _scaled({name: model.transform(_sparse(bag)) for name, bag in bags.items()})


def _sparse(bags: NDArray[np.uint8]) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix(bags, dtype=np.float32)


def _image_features(source: MultiTaskDataset, width: int) -> dict[str, Floats]:
    """Return the principal components of responses to random patches, fitted on training images, of unit variance.

    Source: Coates and Ng 2011 for whitened random patches with a soft threshold, pooled in quadrants.

    Deviation: images have mean 0 and deviation 1, not patches, and the mean patch is not subtracted before whitening.
    """
    from sklearn.decomposition import PCA

    filters = _patches(source.splits["train"].x)
    found = {name: _responses(split.x, filters) for name, split in source.splits.items()}
    model = PCA(width, random_state=0).fit(found["train"][::4])
    return _scaled({name: model.transform(part) for name, part in found.items()})


def _patches(images: Tensor) -> Tensor:
    """Return whitened random patches of training images as filters; float32 [FILTERS, 3, PATCH, PATCH]."""
    random = np.random.default_rng(0)
    rows = torch.from_numpy(random.integers(len(images), size=20_000))
    windows = functional.unfold(_normal(images[rows]), PATCH, stride=PATCH)
    place = torch.from_numpy(random.integers(windows.shape[2], size=len(rows)))
    drawn = windows[torch.arange(len(rows)), :, place]
    values, vectors = torch.linalg.eigh(torch.cov(drawn.T))
    whiten = vectors @ torch.diag((values + 0.1).rsqrt()) @ vectors.T
    chosen = functional.normalize(drawn[:FILTERS] @ whiten)
    return (chosen @ whiten).view(FILTERS, -1, PATCH, PATCH)


def _normal(images: Tensor) -> Tensor:
    """Return images of mean 0 and deviation 1, each."""
    flat = images.float().flatten(1)
    return ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp(min=1)).view(images.shape)


def _responses(images: Tensor, filters: Tensor) -> Floats:
    """Return positive and negative responses of the filters, averaged in quadrants; float32 [rows, 8 * FILTERS]."""
    parts = []
    for part in images.split(AT_ONCE):
        found = functional.conv2d(_normal(part), filters, stride=STRIDE)
        both = torch.cat([torch.relu(found - 0.5), torch.relu(-found - 0.5)], 1)
        parts.append(functional.adaptive_avg_pool2d(both, 2).flatten(1))
    return torch.cat(parts).numpy()


def _scaled(features: Mapping[str, NDArray[np.floating[Any]]]) -> dict[str, Floats]:
    deviation = features["train"].std(0)
    return {name: (part / deviation).astype(np.float32) for name, part in features.items()}
