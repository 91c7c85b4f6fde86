"""Grouped dispatch: send each row of a batch through the module of its group, each module run once.

A group is a block, a module of a pool, a sub-network or a task. Rows are sorted by their groups, every module sees its
rows as one contiguous batch, and the order is undone. Modules of one structure need no loop at all; see
`mtl_gym.core.nn.stacks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.typing import Context


@dataclass(frozen=True)
class Dispatch:
    """Rows sorted by their groups on the host, where actions arrive.

    Attributes:
        groups: The groups that have rows, or all, ascending; int64 [groups].
        counts: Rows of each; int64 [groups].
        choices: Group of each row; int64 [rows].
        order: Rows in the order of their groups; int64 [rows].
        device: Device of the tensors that are dispatched.
    """

    groups: NDArray[np.int64]
    counts: NDArray[np.int64]
    choices: NDArray[np.int64]
    order: NDArray[np.int64]
    device: torch.device

    @classmethod
    def of(cls, choices: NDArray[np.int64], count: int | None = None, device: torch.device | str = "cpu") -> Dispatch:
        """Sort rows by their group.

        Args:
            choices: Group of each row; int64 [rows].
            count: Number of groups, of which all take part; None for those that have rows.
            device: Device of the tensors that are dispatched.

        Example:
            >>> Dispatch.of(np.array([2, 0, 2])).groups, Dispatch.of(np.array([2, 0, 2]), 3).counts
            (array([0, 2]), array([1, 0, 2]))
        """
        rows = np.bincount(choices, minlength=count or 0)
        groups = np.flatnonzero(rows) if count is None else np.arange(len(rows))
        # Stable sorting of 16 bits is a radix sort, several times as fast as of 64.
        order = np.argsort(choices.astype(np.int16), kind="stable")
        return cls(groups, rows[groups], choices, order, torch.device(device))

    @property
    def is_sorted(self) -> bool:
        """True if there is nothing to reorder."""
        return len(self.groups) <= 1

    @property
    def longest(self) -> int:
        """Rows of the largest group, at least 1."""
        return int(self.counts.max(initial=1))

    @cached_property
    def group(self) -> Tensor:
        """`choices` on the device; int64 [rows]."""
        return self._on_device(self.choices)

    @cached_property
    def gathered(self) -> Tensor:
        """Position in group order -> row; int64 [rows]."""
        return self._on_device(self.order)

    @cached_property
    def scattered(self) -> Tensor:
        """Row -> position in group order; int64 [rows]."""
        return self._on_device(self._places(0))

    @cached_property
    def slots(self) -> Tensor:
        """Row -> place in the padded stack [groups * longest]; int64 [rows]."""
        return self.slots_in(self.longest)

    def slots_in(self, longest: int) -> Tensor:
        """Row -> place in a stack padded to other lengths [groups * longest]; int64 [rows]."""
        starts = np.cumsum(self.counts) - self.counts
        shift = np.arange(len(self.groups)) * longest - starts
        return self._on_device(self._places(np.repeat(shift, self.counts)))

    def _places(self, shift: NDArray[np.int64] | int) -> NDArray[np.int64]:
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(self.order)) + shift
        return places

    def _on_device(self, index: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(index).to(self.device, non_blocking=True)

    def sort(self, rows: Tensor) -> Tensor:
        """Return rows in group order; [rows, *shape]."""
        return rows if self.is_sorted else _Permute.apply(rows, self.gathered, self.scattered)

    def unsort(self, rows: Tensor) -> Tensor:
        """Undo `sort`."""
        return rows if self.is_sorted else _Permute.apply(rows, self.scattered, self.gathered)

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the rows of each group; [rows, *shape] -> [count, *shape] each."""
        return self.sort(rows).split(self.counts.tolist())

    def spread(self, rows: Tensor) -> Tensor:
        """Stack the rows of each group, padded with zeros; [rows, *shape] -> [groups, longest, *shape]."""
        return _spread(rows, self.slots, len(self.groups), self.longest)

    def gather(self, stack: Tensor) -> Tensor:
        """Undo `spread`; [groups, longest, *shape] -> [rows, *shape]."""
        return stack.flatten(0, 1).index_select(0, self.slots)


class _Permute(torch.autograd.Function):
    """`x[order]` whose gradient is another gather, not a scatter-add."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradients[0].index_select(0, inverse), None, None


def _spread(rows: Tensor, slots: Tensor, groups: int, longest: int) -> Tensor:
    stack = rows.new_zeros(groups * longest, *rows.shape[1:])
    return stack.index_copy_(0, slots, rows).unflatten(0, (groups, longest))
