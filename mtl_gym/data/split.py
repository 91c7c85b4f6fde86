"""One part of a data set: rows of inputs, each with its task and its label or labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")
NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one split; all three tensors are as long as each other.

    ``MultiTaskDataset`` checks the contents, because only it knows the tasks and their classes.

    Attributes:
        x: Inputs, ``[rows, *input_shape]``, any real dtype (images stay uint8, a quarter of float32).
            Texts are token ids, ``[rows, steps]`` or, with the characters of each word behind its id,
            ``[rows, steps, 1 + characters]``; 0 behind a text's end.
        task: Index of each row's task, int64 ``[rows]``.
        y: Label of each row among its own task's classes, int64 ``[rows]``; or a label for each step of a sequence,
            ``[rows, steps]``, with -1 (``NO_LABEL``) behind the sequence's end.

    Example:
        >>> import torch
        >>> len(Split(x=torch.zeros(3, 2), task=torch.tensor([0, 0, 1]), y=torch.tensor([1, 0, 0])))
        3
    """

    x: Tensor
    task: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def has_sequences(self) -> bool:
        """Whether each row has a label for every step instead of one."""
        return self.y.ndim == 2

    def to(self, device: str | torch.device) -> "Split":
        """Returns the same rows with all three tensors on ``device``."""
        return Split(self.x.to(device), self.task.to(device), self.y.to(device))

    def part(self, tasks: Sequence[int]) -> "Split":
        """Returns the rows of those tasks, which are numbered anew in the order given."""
        numbers = torch.full((int(self.task.max()) + 1 + max(tasks),), -1, device=self.task.device)
        numbers[list(tasks)] = torch.arange(len(tasks), device=self.task.device)
        task = numbers[self.task]
        rows = task >= 0
        return Split(self.x[rows], task[rows], self.y[rows])
