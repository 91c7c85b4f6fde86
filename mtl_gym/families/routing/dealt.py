"""Real images dealt to tasks, with labels permuted by hidden groups of tasks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.split import Split
from mtl_gym.families.routing.grouped import Grouped, draw_groups

CLASSES = 10


def deal_images(
    name: str,
    images: Mapping[str, tuple[Tensor, Rows]],
    sizes: tuple[int, int, int],
    random: np.random.Generator,
) -> Grouped:
    """Deal images of ten classes to tasks, and permute the labels of each hidden group in its own way.

    Training and validation images are dealt: no two tasks share one. Every task has all test images. Two groups give no
    class the same label.

    Args:
        name: Name of the data set.
        images: Inputs, float32 `[images, features]`, and classes, int64 `[images]`, of each split.
        sizes: Number of tasks, of groups, and of training images per task; as many for validation, or as many as there
            are.
        random: Generator to draw from.

    Raises:
        ValueError: If there are too few images.
    """
    tasks, groups, samples = sizes
    train, validation, test = (len(images[split][1]) for split in ("train", "validation", "test"))
    if samples > train // tasks:
        raise ValueError(
            f"samples={samples} is too many for {tasks} tasks: there are images for {train // tasks} each."
        )
    if tasks > validation:
        raise ValueError(
            f"tasks={tasks} is too many: each needs a validation image, and there are {validation}; use fewer."
        )
    members, labels = draw_groups(tasks, groups, random), permuted_labels(groups, random)
    dealt = {
        "train": _deal(train, tasks, samples, random),
        "validation": _deal(validation, tasks, min(samples, validation // tasks), random),
        "test": np.tile(np.arange(test), (tasks, 1)),
    }
    splits = {split: _split(*images[split], labels[members], chosen) for split, chosen in dealt.items()}
    names = tuple(f"task {task}" for task in range(tasks))
    classes = (tuple(f"label {label}" for label in range(CLASSES)),) * tasks
    moments = statistics(splits["train"].x, per_channel=False)
    return Grouped(MultiTaskDataset(name, splits, names, classes, *moments), members)


def permuted_labels(groups: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw a permutation of the labels for each group; no two agree on a class; int64 [groups, classes]."""
    shifts = random.permutation(CLASSES)[:groups, None]
    columns, relabelled = random.permutation(CLASSES), random.permutation(CLASSES)
    return relabelled[(columns + shifts) % CLASSES]


def _deal(images: int, tasks: int, each: int, random: np.random.Generator) -> Rows:
    """Deal distinct images to tasks; int64 [tasks, each]."""
    return random.permutation(np.arange(images))[: tasks * each].reshape(tasks, each)


def _split(x: Tensor, classes: Rows, labels: NDArray[np.int64], chosen: Rows) -> Split:
    """Return the images [tasks, each] of all tasks, with the labels [tasks, classes] of each."""
    task = np.repeat(np.arange(len(chosen)), chosen.shape[1])
    row = chosen.ravel()
    return Split(x[torch.from_numpy(row)], torch.from_numpy(task), torch.from_numpy(labels[task, classes[row]]))
