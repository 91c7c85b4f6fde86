"""Consistency checks of multi-task data sets, each with an error that names the remedy.

Without them a wrong label would surface as an index error deep inside a loss, or not at all.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mtl_gym.core.validation import short
from mtl_gym.data.arrays import Values, check_finite, described, first_row, read_outputs
from mtl_gym.data.sequence_checks import check_label_sequences, check_label_shape
from mtl_gym.data.split import NO_LABEL, SPLITS, Split

_LOG = logging.getLogger(__name__)


def check_name(name: object) -> None:
    """Check that the name of a data set or task is text that can be written to a file.

    Raises:
        ValueError: If it is not.
    """
    unwritable = isinstance(name, str) and any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in name)
    if not isinstance(name, str) or unwritable:
        raise ValueError(f"name={short(name)} is not possible; it takes text, without NUL or half a surrogate pair")


def read_names(where: str, what: str, names: object) -> tuple[str, ...]:
    """Return a user's names of tasks, classes or words as a tuple.

    Raises:
        ValueError: If ``names`` is not a list of strings. A single string is refused, because its letters would be
            taken for names.
    """
    found: tuple[object, ...] | None = None
    if isinstance(names, Iterable) and not isinstance(names, str | bytes | Mapping | set | frozenset):
        found = tuple(names)
    if found is None or not all(isinstance(name, str) for name in found):
        hint = f"; write ({names!r},) for one name" if isinstance(names, str) else ""
        given = short(names) if isinstance(names, str | list | tuple) else described(names)
        raise ValueError(f"{where}: {what} is {given}, but must be a list or tuple of texts{hint}")
    return tuple(map(str, found))


def read_all_names(
    name: str, task_names: object, class_names: object, vocabulary: object, characters: object
) -> dict[str, tuple[Any, ...]]:
    """Return all names of a data set as tuples of strings.

    Raises:
        ValueError: If a name is not text, a task name occurs twice, or a task has no classes; the message names the
            data set and the task.
    """
    where = f"data set {name!r}"
    lists = {"task_names": task_names, "vocabulary": vocabulary, "characters": characters}
    read: dict[str, tuple[Any, ...]] = {what: read_names(where, what, names) for what, names in lists.items()}
    tasks = read["task_names"]
    if not isinstance(class_names, Sequence) or isinstance(class_names, str):
        raise ValueError(
            f"{where}: class_names is {described(class_names)}, but must be a tuple of names for each task"
        )
    _check_tasks_are_named(name, tasks, len(class_names))
    pairs = zip(tasks, class_names, strict=True)
    read["class_names"] = tuple(read_names(f"{where}, task {task!r}", "class_names", names) for task, names in pairs)
    for task, classes in zip(tasks, read["class_names"], strict=True):
        if not classes:
            raise ValueError(f"data set {name!r}: task {task!r} has no class names; give one name per class")
    return read


def _check_tasks_are_named(name: str, task_names: Sequence[str], with_classes: int) -> None:
    if not task_names:
        raise ValueError(f"data set {name!r} has no tasks; give at least one task name")
    for task in task_names:
        check_name(task)
    repeated = sorted({task for task in task_names if task_names.count(task) > 1})
    if repeated:
        raise ValueError(f"data set {name!r}: task names {repeated} occur more than once; each task needs its own name")
    if with_classes != len(task_names):
        raise ValueError(
            f"data set {name!r} has {len(task_names)} task names but class names for {with_classes} tasks; "
            "give one tuple of class names per task"
        )


def check_splits(name: str, splits: Mapping[str, Split], task_names: Sequence[str], num_classes: Sequence[int]) -> None:
    """Check that the three splits exist, are valid, and agree with each other.

    Raises:
        ValueError: If they do not; the message names the data set, the split, the offending value and the allowed
            values.
    """
    check_split_names(f"data set {name!r}", splits)
    for split_name, split in splits.items():
        where = f"data set {name!r}, split {split_name!r}"
        if not isinstance(split, Split):
            raise ValueError(f"{where} is {described(split)}, but must be a Split(x, task, y)")
        _check_tensors(where, split)
        _check_tasks(where, split, task_names)
        _check_labels(where, split, task_names, num_classes)
        check_finite(where, split.x, owner=partial(_owner, split, task_names))
    _check_agreement(name, splits)


def check_split_names(where: str, splits: object) -> None:
    """Check that a mapping has exactly the three splits as its keys, without a look at their contents.

    Raises:
        ValueError: If it has not; the message lists its keys.
    """
    if not isinstance(splits, Mapping):
        raise ValueError(f"{where}: splits is {described(splits)}, but must be a mapping with the keys {SPLITS}")
    if set(splits) != set(SPLITS):
        raise ValueError(
            f"{where} has the splits {sorted(map(str, splits))}, but exactly {sorted(SPLITS)} are needed; "
            "add the missing ones and drop the others"
        )


def tell_single_class(where: str, labels: Sequence[Tensor]) -> None:
    """Log a warning if all labels of a task, over all splits, are equal: a constant answer is then always right.

    Args:
        where: Data set and task.
        labels: Labels of each split, int64, any shape; -1 is padding.
    """
    real = [y[y != NO_LABEL] for y in labels]
    bounds = [int(bound) for y in real if len(y) for bound in y.aminmax()]
    if bounds and min(bounds) == max(bounds):
        _LOG.warning(
            "%s has rows of one class only (label %d): a constant answer is always right, so its accuracy is 100%% "
            "and lifts every mean over tasks. Leave the task out, or add rows of another class.",
            where,
            bounds[0],
        )


def read_statistics(
    name: str, mean: Values | None, std: Values | None, like: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return mean and standard deviation as float32, checked against the inputs ``like``.

    Raises:
        ValueError: As for `check_statistics`, or if the values are not finite real numbers.
    """
    read = [
        None if values is None else read_outputs(f"data set {name!r}", values, label).to(like.device)
        for label, values in (("mean", mean), ("std", std))
    ]
    check_statistics(name, read[0], read[1], tuple(like.shape[1:]))
    return read[0], read[1]


def check_statistics(name: str, mean: Tensor | None, std: Tensor | None, input_shape: tuple[int, ...]) -> None:
    """Check that mean and std are given together, broadcast to the inputs, and that std is above 0.

    Raises:
        ValueError: If they do not; the message names the data set, the tensor and the allowed values.
    """
    if (mean is None) != (std is None):
        raise ValueError(f"data set {name!r} has only one of mean and std; give both, or neither")
    for label, values in (("mean", mean), ("std", std)):
        if values is not None:
            _check_statistic(f"data set {name!r}, {label}", values, input_shape)
    if std is not None and not bool((std > 0).all()):
        raise ValueError(
            f"data set {name!r}: std holds {std.min().item()}, but must be above 0 everywhere; "
            "use 1 where inputs never vary"
        )


def _check_statistic(where: str, values: Tensor, input_shape: tuple[int, ...]) -> None:
    fits = len(values.shape) <= len(input_shape) and all(
        size in (1, wanted) for size, wanted in zip(reversed(values.shape), reversed(input_shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"{where} has shape {list(values.shape)}, which does not broadcast to the input shape {list(input_shape)}; "
            "per-channel values of images have shape [channels, 1, 1]"
        )


def _check_tensors(where: str, split: Split) -> None:
    for label, values in (("task", split.task), ("y", split.y)):
        if values.device != split.x.device:
            raise ValueError(f"{where}: {label} is on {values.device}, but x is on {split.x.device}; put them on one")
        if label == "y" and split.has_sequences and split.x.ndim > 1:
            check_label_shape(where, split)
        elif values.shape != (len(split.x),):
            raise ValueError(
                f"{where}: {label} has shape {list(values.shape)}, but x has {len(split.x)} rows, so it must be "
                f"[{len(split.x)}]; give one {label} value per row of x"
            )


def _check_tasks(where: str, split: Split, task_names: Sequence[str]) -> None:
    row = first_row((split.task < 0) | (split.task >= len(task_names)))
    if row is not None:
        raise ValueError(
            f"{where}: row {row} has task {int(split.task[row])}, but there are {len(task_names)} tasks, so it must be "
            f"0 to {len(task_names) - 1}; task indices count along task_names"
        )
    counts = torch.bincount(split.task, minlength=len(task_names))
    absent = first_row(counts == 0)
    if absent is not None:
        raise ValueError(f"{where}: task {task_names[absent]!r} has no row; every task needs rows in every split")


def _check_labels(where: str, split: Split, task_names: Sequence[str], num_classes: Sequence[int]) -> None:
    allowed = torch.tensor(list(num_classes), device=split.y.device)[split.task]
    if split.has_sequences:
        check_label_sequences(where, split, task_names, allowed)
        return
    row = first_row((split.y < 0) | (split.y >= allowed))
    if row is not None:
        task = int(split.task[row])
        raise ValueError(
            f"{where}: row {row} of task {task_names[task]!r} has label {int(split.y[row])}, but the task has "
            f"{num_classes[task]} classes, so it must be 0 to {num_classes[task] - 1}; relabel it or name more classes"
        )


def _owner(split: Split, task_names: Sequence[str], row: int) -> str:
    return f" (task {task_names[int(split.task[row])]!r})"


def _check_agreement(name: str, splits: Mapping[str, Split]) -> None:
    if len({split.has_sequences for split in splits.values()}) > 1:
        raise ValueError(f"data set {name!r}: some splits have label sequences and others do not; make them the same")
    for label in ("shape", "dtype", "device"):
        found = {split_name: _input_property(split, label) for split_name, split in splits.items()}
        if len(set(found.values())) > 1:
            raise ValueError(
                f"data set {name!r}: the splits differ in the {label} of an input ({found}); make them the same"
            )


def _input_property(split: Split, label: str) -> str:
    return str(list(split.x.shape[1:]) if label == "shape" else getattr(split.x, label))
