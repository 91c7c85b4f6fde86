"""Tasks that have neither inputs nor outputs in common: a regression beside a language model beside pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NoReturn, TypeAlias

import torch
from torch import Tensor

from mtl_gym.data.split import SPLITS

KINDS = ("regression", "classification")
Pair: TypeAlias = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class TaskData:
    """One task with inputs and outputs of its own.

    Attributes:
        name: What messages and results call it.
        kind: "regression" (outputs are numbers, float32 [rows, outputs]) or "classification" (labels, int64 [rows], or
            [rows, steps] for one label at each step of a sequence).
        splits: "train", "validation" and "test", each the inputs [rows, *input_shape] and the outputs, as tensors or
            arrays.
        outputs: Numbers of a regression, or classes.

    Raises:
        ValueError: If the parts do not fit together; the message names the task, the split and what to do.

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
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name!r}: kind={self.kind!r} is unknown; choose one of {KINDS}.")
        if set(self.splits) != set(SPLITS):
            raise ValueError(f"task {self.name!r} has the splits {sorted(self.splits)}; it needs {sorted(SPLITS)}.")
        splits = {name: (torch.as_tensor(x), torch.as_tensor(y)) for name, (x, y) in self.splits.items()}
        for split, (x, y) in splits.items():
            self._check(f"task {self.name!r}, split {split!r}", x, y)
            self._check_alike(split, x, splits["train"][0])
        object.__setattr__(self, "splits", MappingProxyType({split: splits[split] for split in SPLITS}))

    def _check_alike(self, split: str, x: Tensor, first: Tensor) -> None:
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            theirs, ours = (f"{part.dtype} {list(part.shape[1:])}" for part in (x, first))
            raise ValueError(f"task {self.name!r}: an input of split {split!r} is {theirs}, of 'train' {ours}.")

    def _check(self, where: str, x: Tensor, y: Tensor) -> None:
        if not len(x) or len(x) != len(y):
            raise ValueError(f"{where} has {len(x)} inputs and {len(y)} outputs; give one for each, and at least one.")
        if x.dtype == torch.float64:
            raise ValueError(f"{where}: the inputs are float64, and networks take float32; use .float().")
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            raise ValueError(f"{where}: the inputs hold NaN or infinity; drop those rows or fill the gaps.")
        if self.kind == "regression":
            self._check_numbers(where, y)
        else:
            self._check_labels(where, y)

    def _check_numbers(self, where: str, y: Tensor) -> None:
        if y.dtype != torch.float32 or y.shape[1:] != (self.outputs,):
            shape = f"float32 [rows, {self.outputs}]"
            raise ValueError(f"{where}: outputs of a regression are {shape}; these are {y.dtype} {list(y.shape)}.")
        if not bool(torch.isfinite(y).all()):
            raise ValueError(f"{where}: the outputs hold NaN or infinity; drop those rows.")

    def _check_labels(self, where: str, y: Tensor) -> None:
        if y.dtype != torch.int64:
            raise ValueError(f"{where}: labels are int64, these are {y.dtype}; use .long().")
        if int(y.min()) < 0 or int(y.max()) >= self.outputs:
            raise ValueError(f"{where}: labels are {int(y.min())} to {int(y.max())}, not 0 to {self.outputs - 1}.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the rows."""
        return tuple(self.splits["train"][0].shape[1:])

    def to(self, device: str | torch.device) -> TaskData:
        """The same task with its tensors on `device`."""
        return replace(self, splits={name: (x.to(device), y.to(device)) for name, (x, y) in self.splits.items()})

    def __repr__(self) -> str:
        """Sizes instead of tensors."""
        rows = ", ".join(f"{name} {len(x)}" for name, (x, _) in self.splits.items())
        return f"TaskData({self.name!r}, {self.kind}, {list(self.input_shape)} -> {self.outputs}, {rows})"


@dataclass(frozen=True, eq=False, repr=False)
class TaskCollection:
    """Several tasks, each with inputs and outputs of its own. It never changes, and copies are the object itself.

    Attributes:
        name: What messages and results call it.
        tasks: The tasks.
        groups: The group of each task, where it is known which tasks belong together; else None.

    Raises:
        ValueError: If there is no task, two have one name, or the groups are not as many as the tasks.

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
        object.__setattr__(self, "tasks", tuple(self.tasks))
        names = self.task_names
        if not names or len(set(names)) < len(names):
            raise ValueError(f"data set {self.name!r} has the tasks {names}; give at least one, each its own name.")
        if self.groups is not None and len(self.groups) != len(names):
            raise ValueError(f"data set {self.name!r} has {len(self.groups)} groups for {len(names)} tasks.")

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in their order."""
        return tuple(task.name for task in self.tasks)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    def choose(self, names: Sequence[str]) -> TaskCollection:
        """The same data with the named tasks only.

        Raises:
            ValueError: If one of them is not there.
        """
        known = dict(zip(self.task_names, range(self.num_tasks), strict=True))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"data set {self.name!r} has no task {unknown[0]!r}; it has {', '.join(known)}.")
        places = [known[name] for name in names]
        groups = None if self.groups is None else tuple(self.groups[place] for place in places)
        return TaskCollection(self.name, tuple(self.tasks[place] for place in places), groups)

    def to(self, device: str | torch.device) -> TaskCollection:
        """The data set with its tensors on `device`; itself where they are there already."""
        if torch.empty(0, device=device).device == self.tasks[0].splits["train"][0].device:
            return self
        return replace(self, tasks=tuple(task.to(device) for task in self.tasks))

    def __deepcopy__(self, memo: dict[int, object]) -> TaskCollection:
        """The data set itself: it never changes."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the fields as they were given, because a mapping proxy cannot be pickled."""
        tasks = [(task.name, task.kind, dict(task.splits), task.outputs) for task in self.tasks]
        return _rebuilt, (self.name, tasks, self.groups)

    def __getattr__(self, name: str) -> NoReturn:
        """What data sets with common inputs have is not here; say so."""
        raise AttributeError(
            f"A TaskCollection has no {name!r}: its tasks have inputs and outputs of their own. "
            "The MTLAlignment environments take it; the other families take a MultiTaskDataset."
        )

    def __repr__(self) -> str:
        """Sizes instead of tensors."""
        groups = "" if self.groups is None else f", {len(set(self.groups))} groups"
        return f"TaskCollection({self.name!r}, {self.num_tasks} tasks{groups})"


def _rebuilt(
    name: str, tasks: Sequence[tuple[str, str, dict[str, Pair], int]], groups: tuple[int, ...] | None
) -> TaskCollection:
    return TaskCollection(name, tuple(TaskData(*task) for task in tasks), groups)
