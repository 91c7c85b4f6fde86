"""Conversion of a user's arrays, one table per task, to the splits of a multi-task data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.core.validation import short
from mtl_gym.data.arrays import Values, check_finite, described, read_inputs, read_labels, read_pair
from mtl_gym.data.checks import read_names
from mtl_gym.data.rounding import tell_rounding
from mtl_gym.data.split import SPLITS, Split
from mtl_gym.data.stratified import stratified_rows

_SMALLEST_CLASS = 3


@dataclass(frozen=True, eq=False)
class TaskTable:
    """Rows of one task.

    Attributes:
        x: Inputs, uint8 or float32 ``[rows, *input_shape]``.
        y: Labels, int64 ``[rows]``.
        width: Length of the first axis of an input before padding.
    """

    x: Tensor
    y: npt.NDArray[np.int64]
    width: int


def read_tables(name: str, tasks: Mapping[str, tuple[Values, Values]]) -> dict[str, TaskTable]:
    """Convert the arrays of each task to tables with inputs of one shape and dtype.

    Feature vectors of different widths are padded with zeros on the right, to the widest. Inputs stay uint8 if those of
    all tasks are; otherwise they become float32.

    Raises:
        ValueError: If an array is invalid; the message names the data set, the task, the offending value and the
            remedy.
    """
    if not isinstance(tasks, Mapping):
        raise ValueError(f"data set {name!r}: tasks is {described(tasks)}, but must be {{task_name: (x, y)}}")
    if not tasks:
        raise ValueError(f"data set {name!r} has no tasks; give at least one, as {{task_name: (x, y)}}")
    read = {task: _read(f"data set {name!r}, task {task!r}", arrays) for task, arrays in tasks.items()}
    _check_shapes(name, read)
    width = max(table.x.shape[1] for table in read.values())
    dtype = torch.uint8 if all(table.x.dtype == torch.uint8 for table in read.values()) else torch.float32
    return {task: replace(table, x=_padded(table.x.to(dtype), width)) for task, table in read.items()}


def name_classes(
    name: str, tables: Mapping[str, TaskTable], class_names: Mapping[str, Sequence[str]] | None
) -> tuple[tuple[str, ...], ...]:
    """Return the class names of each task after a check of its labels; unnamed classes are named by their label.

    Raises:
        ValueError: If a label is out of range, unused, or too rare to split; the message names data set, task and
            label.
    """
    if not isinstance(class_names, Mapping | None):
        raise ValueError(
            f"data set {name!r}: class_names is {described(class_names)}, but must be {{task_name: class names}}"
        )
    given = dict(class_names or {})
    unknown = [task for task in given if task not in tables]
    if unknown:
        raise ValueError(f"data set {name!r}: class names for {unknown}, but the tasks are {list(tables)}")
    return tuple(
        _classes(f"data set {name!r}, task {task!r}", table, given.get(task)) for task, table in tables.items()
    )


def _classes(where: str, table: TaskTable, given: Sequence[str] | None) -> tuple[str, ...]:
    classes = None if given is None else read_names(where, "class_names", given)
    _check_labels(where, table.y, None if classes is None else len(classes))
    return tuple(str(label) for label in range(int(table.y.max()) + 1)) if classes is None else classes


def split_tables(tables: Sequence[TaskTable], validation: float, test: float, seed: int) -> dict[str, Split]:
    """Split the rows of each task by class, and concatenate the tasks within each split.

    Raises:
        ValueError: If a share is not above 0, the shares leave no training rows, or the seed is negative.
    """
    shares = [isinstance(share, Real) for share in (validation, test)]
    if not (all(shares) and validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(
            f"validation={validation} and test={test} must each be above 0 and together below 1, "
            "because every task needs rows in every split"
        )
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed={short(seed)} is not possible; it takes a whole number of 0 or more")
    # One generator per task, so that a task added at the end does not change the splits of the others.
    rows = [
        stratified_rows(table.y, validation, test, np.random.default_rng((seed, task)))
        for task, table in enumerate(tables)
    ]
    return {split: _joined(tables, [chosen[split] for chosen in rows]) for split in SPLITS}


def _joined(tables: Sequence[TaskTable], rows: Sequence[npt.NDArray[np.int64]]) -> Split:
    return Split(
        x=torch.cat([table.x[torch.from_numpy(chosen)] for table, chosen in zip(tables, rows, strict=True)]),
        task=torch.cat([torch.full((len(chosen),), task) for task, chosen in enumerate(rows)]),
        y=torch.cat([torch.from_numpy(table.y[chosen]) for table, chosen in zip(tables, rows, strict=True)]),
    )


def _read(where: str, pair: tuple[Values, Values]) -> TaskTable:
    given = read_pair(where, pair)
    inputs, labels = read_inputs(where, given[0]).cpu(), read_labels(where, given[1]).cpu()
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise ValueError(
            f"{where}: x has shape {list(inputs.shape)}, but must be [rows, *input_shape] with no axis of 0"
        )
    if labels.shape != inputs.shape[:1]:
        raise ValueError(
            f"{where}: y has shape {list(labels.shape)}, but x has {len(inputs)} rows; give one label per row"
        )
    check_finite(where, inputs)
    tell_rounding(where, "x", given[0])
    x = inputs if inputs.dtype == torch.uint8 else inputs.to(torch.float32)
    return TaskTable(x, labels.numpy(), width=x.shape[1])


def _check_labels(where: str, y: npt.NDArray[np.int64], classes: int | None) -> None:
    advice = "relabel with numpy.unique(y, return_inverse=True)[1]"
    labels, counts = np.unique(y, return_counts=True)
    highest = int(labels[-1]) if classes is None else classes - 1
    if labels[0] < 0 or labels[-1] > highest:
        wrong = int(labels[0] if labels[0] < 0 else labels[-1])
        row = int(np.flatnonzero(y == wrong)[0])
        raise ValueError(f"{where}: row {row} has label {wrong}, but labels must be 0 to {highest}; {advice}")
    if len(labels) <= highest:
        unused = next((label for label, found in enumerate(labels) if label != found), len(labels))
        raise ValueError(f"{where}: no row has label {unused}, but labels must use all of 0 to {highest}; {advice}")
    rarest = int(counts.argmin())
    if counts[rarest] < _SMALLEST_CLASS:
        raise ValueError(
            f"{where}: class {rarest} has {counts[rarest]} row(s), but needs {_SMALLEST_CLASS}, one for each of train, "
            "validation and test; add rows or merge the class with another"
        )


def _check_shapes(name: str, tables: Mapping[str, TaskTable]) -> None:
    shapes = {task: list(table.x.shape[1:]) for task, table in tables.items()}
    alike = {tuple(shape) if len(shape) > 1 else "features" for shape in shapes.values()}
    if len(alike) > 1:
        raise ValueError(
            f"data set {name!r}: inputs have different shapes ({shapes}); only feature vectors are padded, "
            "so resize or crop the others to one shape"
        )


def _padded(x: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, width - x.shape[1])) if x.ndim == 2 else x
