"""Data sets of sequences for the recurrent environments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.recurrent.network import Sequences


class SequenceSplit:
    """Split of a data set of sequences.

    Args:
        data: Data set, on the device; inputs are [steps, features], or ids [steps] or [steps, 1 + characters].
        split: Name of the split.

    Attributes:
        task: Task of each sequence; int64 [n].
        label: Labels; int64 [n], or [n, steps] padded with -1.
        length: Number of steps of each sequence; int64 [n].
        steps: Number of steps of padded sequences.
        every_step: True if every step has a label.

    Raises:
        ValueError: If inputs are not sequences.

    Example:
        >>> from mtl_gym.data import load
        >>> split = SequenceSplit(load("brain-series"), "test")
        >>> split.steps, split.every_step, split.inputs(np.array([0, 1])).shape
        (28, False, torch.Size([2, 28, 10]))
    """

    def __init__(self, data: MultiTaskDataset, split: str) -> None:
        part = data.split(split)
        self.data, self.name = data, split
        if part.x.ndim < (2 if data.has_text else 3) or part.x.ndim > 3:
            raise ValueError(
                f"data set {data.name!r} has inputs of shape {list(data.input_shape)}, which are not sequences "
                "[steps, features]; use brain-series, code-switched, or your own data set of sequences."
            )
        self.task, self.label = part.task.cpu().numpy(), part.y.cpu().numpy()
        self.steps, self.every_step = int(part.x.shape[1]), data.has_sequences
        self.length = self._lengths(part)

    def _lengths(self, part: Split) -> Rows:
        if self.every_step:
            return (self.label >= 0).sum(1)
        if self.data.has_text:
            ids = part.x if part.x.ndim == 2 else part.x[:, :, 0]
            return (ids != 0).sum(1).clamp(min=1).cpu().numpy()
        return np.full(len(part), self.steps)

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.task)

    def inputs(self, samples: Rows) -> Tensor:
        """Return the network inputs of `samples`, int64 [n], cut to the longest of them; [n, steps, ...].

        Sample -1 returns a placeholder.
        """
        index = torch.from_numpy(samples).clamp(min=0).to(self.data.split(self.name).x.device, non_blocking=True)
        return self.data.inputs(self.name, index)[:, : self.length[samples].max()]

    def sequences(self, samples: Rows) -> Sequences:
        """Return the tasks and lengths of `samples`; int64 [n]."""
        length, device = self.length[samples], self.data.split(self.name).x.device
        return Sequences(self.task[samples], length, int(length.max()), self.data.num_tasks, device)

    def of_tasks(self, tasks: Sequence[int]) -> NDArray[np.int64]:
        """Return the samples of `tasks`; int64 [n]."""
        return np.flatnonzero(np.isin(self.task, tasks))
