"""Generated classification tasks whose labels are the answers of a known network."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.split import Split

# Rows of each task.
ROWS = {"train": 256, "validation": 64, "test": 64}
SIZES = list(ROWS.values())
# Candidates for each row; from them, rows are taken so that classes are balanced.
CANDIDATES = 4

Labels = npt.NDArray[np.int64]
# Logits [rows, classes] of inputs [rows, *shape] that belong to tasks, int64 [rows].
Answer = Callable[[Tensor, Labels], Tensor]


def answered(
    name: str,
    tasks: int,
    shape: tuple[int, ...],
    answer: Answer,
    random: np.random.Generator,
    noise: float = 0.0,
) -> MultiTaskDataset:
    """Return normally distributed inputs, labelled with the class of the largest logit that `answer` gives them.

    Every task has 256 training, 64 validation and 64 test inputs of its own, with about as many of each class.

    Args:
        name: Name of the data set.
        tasks: Number of tasks.
        shape: Shape of one input.
        answer: Function of inputs, float32 [rows, *shape], and tasks, int64 [rows], that returns [rows, classes].
        random: Generator of inputs and noise.
        noise: Share of the training labels that is replaced by another class.

    Example:
        >>> data = answered("signs", 2, (3,), lambda x, task: x[:, :2], np.random.default_rng(0))
        >>> data.num_tasks, data.num_classes, data.input_shape, len(data.splits["train"])
        (2, (2, 2), (3,), 512)
    """
    rows = sum(SIZES)
    x = random.standard_normal((tasks, CANDIDATES * rows, prod(shape)), np.float32)
    owner = np.repeat(np.arange(tasks), x.shape[1])
    with torch.no_grad():
        logits = answer(torch.from_numpy(x.reshape(-1, *shape)), owner)
    label, classes = logits.argmax(1).numpy().reshape(tasks, -1), logits.shape[1]
    kept = _balanced(label, classes)[:, :rows]
    x, label = np.take_along_axis(x, kept[..., None], 1), np.take_along_axis(label, kept, 1)
    train = label[:, : ROWS["train"]]
    wrong = random.random(train.shape) < noise
    train[wrong] = (train[wrong] + random.integers(1, max(classes, 2), wrong.sum())) % classes
    names = tuple(f"task {task}" for task in range(tasks))
    class_names = (tuple(map(str, range(classes))),) * tasks
    return MultiTaskDataset(name, _splits(x.reshape(tasks, rows, *shape), label), names, class_names)


def _balanced(label: Labels, classes: int) -> Labels:
    """Return an order in which every prefix of a task's rows has about as many of each class; int64 [tasks, rows]."""
    rank = np.take_along_axis((label[..., None] == np.arange(classes)).cumsum(1), label[..., None], 2)[..., 0]
    return rank.argsort(axis=1, kind="stable")


def _splits(x: npt.NDArray[np.float32], label: Labels) -> dict[str, Split]:
    """Cut the rows of every task into splits; float32 [tasks, rows, *shape] and int64 [tasks, rows]."""
    parts = zip(torch.from_numpy(x).split(SIZES, 1), torch.from_numpy(label).split(SIZES, 1), strict=True)
    task = torch.arange(len(x))
    return {
        split: Split(inputs.flatten(0, 1), task.repeat_interleave(inputs.shape[1]), labels.flatten())
        for split, (inputs, labels) in zip(ROWS, parts, strict=True)
    }
