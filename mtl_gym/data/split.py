"""One split of a data set: rows of inputs with their tasks and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl_gym.data.arrays import read_inputs, read_labels

SPLITS = ("train", "validation", "test")
NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one split; all three tensors have the same length.

    All three may be tensors, NumPy arrays or lists. Arrays and lists are copied; tensors are shared, so do not change
    them afterwards. A tensor with a gradient is copied and detached. ``MultiTaskDataset`` checks the contents, because
    tasks and classes are defined there.

    Attributes:
        x: Inputs, ``[rows, *input_shape]``: integers unchanged (images stay uint8, a quarter of the size of float32),
            all others as float32. Texts are token ids, ``[rows, steps]`` or, with each word's id followed by its
            character ids, ``[rows, steps, 1 + characters]``; 0 after the end of a text.
        task: Index of each row's task, int64 ``[rows]``.
        y: Label of each row among the classes of its task, int64 ``[rows]``; or a label for each step of a sequence,
            ``[rows, steps]``, with -1 (``NO_LABEL``) after the end of the sequence.

    Raises:
        ValueError: If values are not real numbers, or a task or label is not a whole number.

    Example:
        >>> import torch
        >>> len(Split(x=torch.zeros(3, 2), task=torch.tensor([0, 0, 1]), y=torch.tensor([1, 0, 0])))
        3
    """

    x: Tensor
    task: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        """Convert the given values to plain tensors."""
        object.__setattr__(self, "x", read_inputs("a Split", self.x))
        object.__setattr__(self, "task", read_labels("a Split", self.task, "task"))
        object.__setattr__(self, "y", read_labels("a Split", self.y, owner=self._owner))

    def _owner(self, row: int) -> str:
        return f" (task {int(self.task[row])})" if self.task.ndim == 1 and row < len(self.task) else ""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    @property
    def has_sequences(self) -> bool:
        """True if each row has a label for every step instead of one label."""
        return self.y.ndim == 2

    def to(self, device: str | torch.device) -> "Split":
        """Return the same rows with all three tensors on ``device``."""
        # Built without __init__, whose checks would wait for the device.
        moved = object.__new__(Split)
        for part in ("x", "task", "y"):
            object.__setattr__(moved, part, self.__dict__[part].to(device))
        return moved

    def part(self, tasks: Sequence[int]) -> "Split":
        """Return the rows of the given tasks, renumbered in the given order."""
        numbers = torch.full((int(self.task.max()) + 1 + max(tasks),), -1, device=self.task.device)
        numbers[list(tasks)] = torch.arange(len(tasks), device=self.task.device)
        task = numbers[self.task]
        rows = task >= 0
        return Split(self.x[rows], task[rows], self.y[rows])
