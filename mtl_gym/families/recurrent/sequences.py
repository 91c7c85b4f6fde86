"""Batches of sequences, and the data sets that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset, Split


@dataclass(frozen=True)
class Sequences:
    """Tasks and lengths of a batch of sequences; a pair is a row and one of its time steps.

    Attributes:
        task: Task of each row; int64 [rows].
        length: Number of steps of each row; int64 [rows].
        steps: Number of steps of padded inputs.
        tasks: Number of tasks.
        device: Device of the tensors.
    """

    task: Rows
    length: Rows
    steps: int
    tasks: int
    device: torch.device

    @cached_property
    def groups(self) -> Dispatch:
        """Dispatch of rows by task."""
        return Dispatch.of(self.task, self.tasks, self.device)

    @cached_property
    def _pairs(self) -> tuple[Rows, Rows]:
        row, step = np.nonzero(np.arange(self.steps) < self.length[:, None])
        return row, step

    @cached_property
    def flat(self) -> Tensor:
        """Rows of each pair in [rows * steps]; int64 [pairs]."""
        row, step = self._pairs
        return torch.from_numpy(row * self.steps + step).to(self.device, non_blocking=True)

    @cached_property
    def row(self) -> Tensor:
        """Row of each pair; int64 [pairs]."""
        return torch.from_numpy(self._pairs[0]).to(self.device, non_blocking=True)

    @cached_property
    def pair_task(self) -> Rows:
        """Task of each pair, on the host; int64 [pairs]."""
        return self.task[self._pairs[0]]

    @cached_property
    def pair_groups(self) -> Dispatch:
        """Dispatch of pairs by task."""
        return Dispatch.of(self.pair_task, self.tasks, self.device)

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor]:
        row, step = torch.from_numpy(np.stack([np.arange(len(self.length)), self.length - 1])).to(
            self.device, non_blocking=True
        )
        return row, step

    def last(self, values: Tensor) -> Tensor:
        """Return the values at the last step of each row; [rows, steps, *shape] -> [rows, *shape]."""
        return values[self._ends]

    @cached_property
    def last_pairs(self) -> Tensor:
        """Rows of the last step of each row among the pairs; int64 [rows]."""
        return torch.from_numpy(np.cumsum(self.length) - 1).to(self.device)

    @cached_property
    def lengths(self) -> Tensor:
        """Lengths on the device; float32 [rows, 1]."""
        return torch.from_numpy(self.length[:, None]).to(self.device, torch.float32, non_blocking=True)

    @cached_property
    def _full(self) -> bool:
        """True if no row is padded."""
        return bool((self.length == self.steps).all())

    def pairs(self, values: Tensor) -> Tensor:
        """Return the values of all pairs; [rows, steps, *shape] -> [pairs, *shape]."""
        flat = values.flatten(0, 1)
        return flat if self._full else flat[self.flat]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the steps of each sequence; [pairs, width] -> [rows, width]."""
        total = values.new_zeros(len(self.task), values.shape[1])
        return total.index_add(0, self.row, values) / self.lengths


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
        even: True if all sequences are equally long.

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
                f"data set {data.name!r} has inputs of shape {list(data.input_shape)}, which are not sequences [steps, "
                "features]; use brain-series, clinical-series, code-switched, or your own data set of sequences."
            )
        self.task, self.label = part.task.cpu().numpy(), part.y.cpu().numpy()
        self.steps, self.every_step = int(part.x.shape[1]), data.has_sequences
        self.length = self._lengths(part)
        self.even = bool((self.length == self.steps).all())

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
