"""Every way in which a multi-task data set can be inconsistent, each with an error that says what to do.

A wrong label would otherwise surface as an index error deep inside a loss, or not at all.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl_gym.data.sequence_checks import check_label_sequences, check_label_shape
from mtl_gym.data.split import SPLITS, Split


def check_names(name: str, task_names: Sequence[str], class_names: Sequence[Sequence[str]]) -> None:
    """Checks that tasks are named once each and have at least one class each.

    Raises:
        ValueError: Naming the data set and the task.
    """
    if not task_names:
        raise ValueError(f"data set {name!r} has no tasks; give at least one task name")
    repeated = sorted({task for task in task_names if list(task_names).count(task) > 1})
    if repeated:
        raise ValueError(f"data set {name!r}: task names {repeated} occur more than once; each task needs its own name")
    if len(class_names) != len(task_names):
        raise ValueError(
            f"data set {name!r} has {len(task_names)} task names but class names for {len(class_names)} tasks; "
            "give one tuple of class names per task"
        )
    for task, classes in zip(task_names, class_names, strict=True):
        if not classes:
            raise ValueError(f"data set {name!r}: task {task!r} has no class names; give one name per class")


def check_splits(name: str, splits: Mapping[str, Split], task_names: Sequence[str], num_classes: Sequence[int]) -> None:
    """Checks that the three splits are there, agree with each other, and are sound in themselves.

    Raises:
        ValueError: Naming the data set, the split, the offending value and what is allowed.
    """
    if set(splits) != set(SPLITS):
        raise ValueError(
            f"data set {name!r} has the splits {sorted(splits)}, but exactly {sorted(SPLITS)} are needed; "
            "add the missing ones and drop the others"
        )
    for split_name, split in splits.items():
        where = f"data set {name!r}, split {split_name!r}"
        _check_tensors(where, split)
        _check_tasks(where, split, task_names)
        _check_labels(where, split, task_names, num_classes)
        _check_finite(where, split)
    _check_agreement(name, splits)


def check_statistics(name: str, mean: Tensor | None, std: Tensor | None, input_shape: tuple[int, ...]) -> None:
    """Checks that mean and std come together, are float32, fit the inputs, and can be divided by.

    Raises:
        ValueError: Naming the data set, the tensor and what is allowed.
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
    if values.dtype != torch.float32:
        raise ValueError(f"{where} has dtype {values.dtype}, but must be torch.float32; convert it with .float()")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{where} holds NaN or infinity; compute it from finite inputs")
    fits = len(values.shape) <= len(input_shape) and all(
        size in (1, wanted) for size, wanted in zip(reversed(values.shape), reversed(input_shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"{where} has shape {list(values.shape)}, which does not broadcast to the input shape {list(input_shape)}; "
            "per-channel values of images have shape [channels, 1, 1]"
        )


def _check_tensors(where: str, split: Split) -> None:
    if split.x.ndim == 0 or split.x.is_complex() or split.x.dtype == torch.bool:
        raise ValueError(
            f"{where}: x has shape {list(split.x.shape)} and dtype {split.x.dtype}, but must be "
            "[rows, *input_shape] of a real dtype such as torch.float32 or torch.uint8"
        )
    for label, values in (("task", split.task), ("y", split.y)):
        if values.dtype != torch.int64:
            raise ValueError(f"{where}: {label} has dtype {values.dtype}, but must be torch.int64; use .long()")
        if label == "y" and split.has_sequences and split.x.ndim > 1:
            check_label_shape(where, split)
        elif values.shape != (len(split.x),):
            raise ValueError(
                f"{where}: {label} has shape {list(values.shape)}, but x has {len(split.x)} rows, so it must be "
                f"[{len(split.x)}]; give one {label} value per row of x"
            )


def _check_tasks(where: str, split: Split, task_names: Sequence[str]) -> None:
    row = _first((split.task < 0) | (split.task >= len(task_names)))
    if row is not None:
        raise ValueError(
            f"{where}: row {row} has task {int(split.task[row])}, but there are {len(task_names)} tasks, so it must be "
            f"0 to {len(task_names) - 1}; task indices count along task_names"
        )
    counts = torch.bincount(split.task, minlength=len(task_names))
    absent = _first(counts == 0)
    if absent is not None:
        raise ValueError(f"{where}: task {task_names[absent]!r} has no row; every task needs rows in every split")


def _check_labels(where: str, split: Split, task_names: Sequence[str], num_classes: Sequence[int]) -> None:
    allowed = torch.tensor(list(num_classes), device=split.y.device)[split.task]
    if split.has_sequences:
        check_label_sequences(where, split, task_names, allowed)
        return
    row = _first((split.y < 0) | (split.y >= allowed))
    if row is not None:
        task = int(split.task[row])
        raise ValueError(
            f"{where}: row {row} of task {task_names[task]!r} has label {int(split.y[row])}, but the task has "
            f"{num_classes[task]} classes, so it must be 0 to {num_classes[task] - 1}; relabel it or name more classes"
        )


def _check_finite(where: str, split: Split) -> None:
    if split.x.is_floating_point():
        row = _first(~torch.isfinite(split.x).reshape(len(split), -1).all(dim=1))
        if row is not None:
            raise ValueError(f"{where}: row {row} of x holds NaN or infinity; drop the row or fill the gap")


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


def _first(wrong: Tensor) -> int | None:
    rows = wrong.nonzero()
    return int(rows[0]) if len(rows) else None
