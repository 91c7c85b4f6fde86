"""One part of a data set: rows of inputs, each with its task and its label or labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl_gym.data.arrays import read_inputs, read_labels

SPLITS = ("train", "validation", "test")
NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one split; all three tensors are as long as each other.

    Tensors, NumPy arrays and lists will do for all three. Arrays and lists are copied; tensors are shared, so leave
    theirs alone afterwards. A tensor with a gradient is copied without it: nothing flows back to where it came from.
    ``MultiTaskDataset`` checks the contents, because only it knows the tasks and their classes.

    Attributes:
        x: Inputs, ``[rows, *input_shape]``: whole numbers as they are (images stay uint8, a quarter of float32), all
            others as float32. Texts are token ids, ``[rows, steps]`` or, with the characters of each word behind its
            id, ``[rows, steps, 1 + characters]``; 0 behind a text's end.
        task: Index of each row's task, int64 ``[rows]``.
        y: Label of each row among its own task's classes, int64 ``[rows]``; or a label for each step of a sequence,
            ``[rows, steps]``, with -1 (``NO_LABEL``) behind the sequence's end.

    Raises:
        ValueError: One of them does not hold real numbers, or task or label is not whole.

    Example:
        >>> import torch
        >>> len(Split(x=torch.zeros(3, 2), task=torch.tensor([0, 0, 1]), y=torch.tensor([1, 0, 0])))
        3
    """

    x: Tensor
    task: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        """Reads what was given as plain tensors."""
        object.__setattr__(self, "x", read_inputs("a Split", self.x))
        object.__setattr__(self, "task", read_labels("a Split", self.task, "task"))
        object.__setattr__(self, "y", read_labels("a Split", self.y, owner=self._owner))

    def _owner(self, row: int) -> str:
        return f" (task {int(self.task[row])})" if self.task.ndim == 1 and row < len(self.task) else ""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def has_sequences(self) -> bool:
        """Whether each row has a label for every step instead of one."""
        return self.y.ndim == 2

    def to(self, device: str | torch.device) -> "Split":
        """Returns the same rows with all three tensors on ``device``."""
        # Made without __init__, whose checks would wait for the device.
        moved = object.__new__(Split)
        for part in ("x", "task", "y"):
            object.__setattr__(moved, part, self.__dict__[part].to(device))
        return moved

    def part(self, tasks: Sequence[int]) -> "Split":
        """Returns the rows of those tasks, which are numbered anew in the order given."""
        numbers = torch.full((int(self.task.max()) + 1 + max(tasks),), -1, device=self.task.device)
        numbers[list(tasks)] = torch.arange(len(tasks), device=self.task.device)
        task = numbers[self.task]
        rows = task >= 0
        return Split(self.x[rows], task[rows], self.y[rows])
