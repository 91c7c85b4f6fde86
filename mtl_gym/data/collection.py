"""Collections of tasks that share neither inputs nor outputs, such as a regression, a language model and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NoReturn, TypeAlias

import torch
from torch import Tensor

from mtl_gym.core.validation import complaint, short
from mtl_gym.data.arrays import (
    Values,
    check_finite,
    described,
    first_row,
    read_inputs,
    read_labels,
    read_outputs,
    read_pair,
)
from mtl_gym.data.checks import check_name, check_split_names, tell_single_class
from mtl_gym.data.rounding import tell_rounding
from mtl_gym.data.split import SPLITS
from mtl_gym.data.task_numbers import task_numbers

KINDS = ("regression", "classification")
Pair: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class TaskData:
    """One task with inputs and outputs of its own.

    Attributes:
        name: Name in messages and results.
        kind: "regression" (outputs are numbers, float32 [rows, outputs]) or "classification" (labels, int64 [rows], or
            [rows, steps] for one label at each step of a sequence).
        splits: "train", "validation" and "test", each the inputs [rows, *input_shape] and the outputs, as tensors,
            arrays or lists, converted as in a `Split`: floating inputs become float32.
        outputs: Number of outputs of a regression, or of classes.

    A classification with rows of one class only is accepted with a warning in the log: its accuracy is always 100%.

    Raises:
        ValueError: If the parts do not fit together; the message names the task, the split and the remedy.

    Example:
        >>> x, y = torch.rand(6, 3), torch.rand(6, 1)
        >>> TaskData("line", "regression", {name: (x, y) for name in SPLITS}, outputs=1)
        TaskData('line', regression, [3] -> 1, train 6, validation 6, test 6)
    """

    name: str
    kind: str
    splits: Mapping[str, Pair]
    outputs: int

    def __post_init__(self) -> None:
        """Check that all parts fit together."""
        check_name(self.name)
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r}: kind={short(self.kind)} is unknown; choose one of {KINDS}.")
        if complaint("outputs", self.outputs, int) or self.outputs < 1:
            raise ValueError(f"task {self.name!r}: outputs={short(self.outputs)} is not possible; it takes 1 or more.")
        check_split_names(f"task {self.name!r}", self.splits)
        splits = {split: self._read(f"task {self.name!r}, split {split!r}", self.splits[split]) for split in SPLITS}
        for split, (x, _) in splits.items():
            self._check_alike(split, x, splits["train"][0])
        if self.kind == "classification":
            tell_single_class(f"task {self.name!r}", [y for _, y in splits.values()])
        object.__setattr__(self, "splits", MappingProxyType(splits))

    def _read(self, where: str, pair: tuple[Values, Values]) -> Pair:
        given = read_pair(where, pair)
        x = read_inputs(where, given[0])
        y = read_outputs(where, given[1]) if self.kind == "regression" else read_labels(where, given[1])
        rows = [len(part) if part.ndim else 0 for part in (x, y)]
        if not rows[0] or rows[0] != rows[1]:
            raise ValueError(f"{where} has {rows[0]} inputs and {rows[1]} outputs; give one for each, at least one.")
        check_finite(where, x)
        tell_rounding(where, "x", given[0])
        self._check_outputs(where, y)
        return x, y

    def _check_alike(self, split: str, x: Tensor, first: Tensor) -> None:
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype or x.device != first.device:
            theirs, ours = (f"{part.dtype} {list(part.shape[1:])} on {part.device}" for part in (x, first))
            raise ValueError(f"task {self.name!r}: an input of split {split!r} is {theirs}, of 'train' {ours}.")

    def _check_outputs(self, where: str, y: Tensor) -> None:
        if self.kind == "regression":
            if y.shape[1:] != (self.outputs,):
                raise ValueError(f"{where}: outputs of a regression are [rows, {self.outputs}], not {list(y.shape)}.")
            return
        row = first_row((y < 0) | (y >= self.outputs))
        if row is not None:
            wrong = [label for label in y[row].reshape(-1).tolist() if not 0 <= label < self.outputs]
            raise ValueError(f"{where}: row {row} has label {wrong[0]}, but labels are 0 to {self.outputs - 1}.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the axis of rows."""
        return tuple(self.splits["train"][0].shape[1:])

    def to(self, device: str | torch.device) -> TaskData:
        """Return the same task with its tensors on `device`."""
        return replace(self, splits={name: (x.to(device), y.to(device)) for name, (x, y) in self.splits.items()})

    def __repr__(self) -> str:
        """Return a summary with sizes instead of tensors."""
        rows = ", ".join(f"{name} {len(x)}" for name, (x, _) in self.splits.items())
        return f"TaskData({self.name!r}, {self.kind}, {list(self.input_shape)} -> {self.outputs}, {rows})"


@dataclass(frozen=True, eq=False, repr=False)
class TaskCollection:
    """Several tasks, each with inputs and outputs of its own. Immutable; a deep copy is the object itself.

    Attributes:
        name: Name in messages and results.
        tasks: The tasks, in a list or tuple.
        groups: Group of each task, if the grouping of the tasks is known; else None.

    Raises:
        ValueError: If there is no task, two tasks have the same name, or the number of groups is not that of tasks.

    Example:
        >>> from mtl_gym.data import load
        >>> load("linear")
        TaskCollection('linear', 30 tasks, 3 groups)
    """

    name: str
    tasks: Sequence[TaskData]
    groups: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check that all parts fit together."""
        check_name(self.name)
        object.__setattr__(self, "tasks", _read_tasks(f"data set {self.name!r}", self.tasks))
        names = self.task_names
        if not names or len(set(names)) < len(names):
            raise ValueError(f"data set {self.name!r} has the tasks {names}; give at least one, each its own name.")
        if self.groups is not None:
            groups = read_labels(f"data set {self.name!r}", self.groups, "groups").reshape(-1).tolist()
            object.__setattr__(self, "groups", tuple(groups))
            if len(groups) != len(names):
                raise ValueError(f"data set {self.name!r} has {len(groups)} groups for {len(names)} tasks.")

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def task_sizes(self, split: str) -> tuple[int, ...]:
        """Return the number of samples of each task in a split."""
        return tuple(len(task.splits[split][0]) for task in self.tasks)

    def part(self, tasks: Sequence[str | int]) -> TaskCollection:
        """Return the data with the given tasks only, in the given order.

        Args:
            tasks: Names or numbers of tasks, each at most once.

        Raises:
            ValueError: If no task is given, or a task does not exist or is repeated.

        Example:
            >>> from mtl_gym.data import load
            >>> load("linear").part([3, "task 0"]).task_names
            ('task 3', 'task 0')
        """
        numbers = task_numbers(self, tasks)
        groups = None if self.groups is None else tuple(self.groups[number] for number in numbers)
        return TaskCollection(self.name, tuple(self.tasks[number] for number in numbers), groups)

    def to(self, device: str | torch.device) -> TaskCollection:
        """Return the data set with its tensors on `device`; the object itself if they are already there."""
        if torch.empty(0, device=device).device == self.tasks[0].splits["train"][0].device:
            return self
        return replace(self, tasks=tuple(task.to(device) for task in self.tasks))

    def __deepcopy__(self, memo: dict[int, object]) -> TaskCollection:
        """Return the data set itself, because it is immutable."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Return the fields with plain dictionaries, because a mapping proxy cannot be pickled."""
        tasks = [(task.name, task.kind, dict(task.splits), task.outputs) for task in self.tasks]
        return _rebuilt, (self.name, tasks, self.groups)

    def __getattr__(self, name: str) -> NoReturn:
        """Raise an AttributeError that explains the difference from a `MultiTaskDataset`."""
        raise AttributeError(
            f"A TaskCollection has no {name!r}: its tasks have inputs and outputs of their own. "
            "The MTLAlignment environments take it; the other families take a MultiTaskDataset."
        )

    def __repr__(self) -> str:
        """Return a summary with sizes instead of tensors."""
        groups = "" if self.groups is None else f", {len(set(self.groups))} groups"
        return f"TaskCollection({self.name!r}, {self.num_tasks} tasks{groups})"


def _read_tasks(where: str, tasks: Sequence[TaskData]) -> tuple[TaskData, ...]:
    odd = None if isinstance(tasks, list | tuple) else f"is {described(tasks)}"
    for task in () if odd else tasks:
        odd = odd or (None if isinstance(task, TaskData) else f"holds {described(task)}")
    if odd:
        raise ValueError(f"{where}: tasks {odd}, but must be a list or tuple of TaskData.")
    devices = sorted({str(task.splits["train"][0].device) for task in tasks})
    if len(devices) > 1:
        raise ValueError(f"{where}: its tasks are on {', '.join(devices)}; put them on one device with .to().")
    return tuple(tasks)


def _rebuilt(
    name: str, tasks: Sequence[tuple[str, str, dict[str, Pair], int]], groups: tuple[int, ...] | None
) -> TaskCollection:
    return TaskCollection(name, tuple(TaskData(*task) for task in tasks), groups)
