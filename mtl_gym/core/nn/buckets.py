"""Buckets: groups of rows that one batched product takes, and the ways of the rows into their stacks and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.typing import Context

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Bucket:
    """Groups that run as one stack, or one by one.

    Attributes:
        groups: Positions of the groups among those that have rows; int64 [groups].
        lengths: Rows that the result of each group must be that of, zeros behind its own; int64 [groups].
        longest: Rows of the stack; 0 for groups that run one by one, whose rows follow one another.
        slots: Places of the rows in the stack [groups * longest]; int64 [rows], on the device.
        rows: The rows, by group; int64 [rows], on the device. None for all rows of the batch, as they stand.
    """

    groups: Index
    lengths: Index
    longest: int
    slots: Tensor
    rows: Tensor | None = None

    @classmethod
    def of(cls, dispatch: Dispatch, groups: Index, lengths: Index, longest: int) -> Bucket:
        """Return the bucket of some groups; int64 [groups] each."""
        if not longest and len(groups) == len(dispatch.groups) == 1:
            return cls(groups, lengths, longest, torch.empty(0))
        starts, counts = (np.cumsum(dispatch.counts) - dispatch.counts)[groups], dispatch.counts[groups]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = dispatch.order[np.repeat(starts, counts) + within]
        slots = np.repeat(np.arange(len(groups)) * longest, counts) + within
        return cls(groups, lengths, longest, *(on_device(one, dispatch.device) for one in (slots, rows)))

    def spread(self, x: Tensor) -> Tensor:
        """Stack the rows of each group, with zeros behind; [rows of the batch, n] -> [groups, longest, n]."""
        rows = x if self.rows is None else x.index_select(0, self.rows)
        if not self.longest:
            return rows
        stack = x.new_zeros(len(self.groups) * self.longest, *x.shape[1:])
        return stack.index_copy_(0, self.slots, rows).view(len(self.groups), self.longest, -1)

    def gather(self, stack: Tensor) -> Tensor:
        """Return the rows of the bucket; [groups, longest, n] -> [rows, n]."""
        return stack.flatten(0, 1).index_select(0, self.slots) if self.longest else stack


def on_device(index: Index, device: torch.device) -> Tensor:
    """Return an index as a tensor on a device, for which the host does not wait."""
    return torch.from_numpy(index).to(device, non_blocking=True)


def whole(buckets: Sequence[Bucket], stacks: Sequence[Tensor], rows: int) -> Tensor:
    """Return all rows of the batch, from the stacks of all buckets."""
    if buckets[0].rows is None:
        return buckets[0].gather(stacks[0])
    out = stacks[0].new_empty(rows, stacks[0].shape[-1])
    for bucket, stack in zip(buckets, stacks, strict=True):
        assert bucket.rows is not None
        out.index_copy_(0, bucket.rows, bucket.gather(stack))
    return out


class Spread(torch.autograd.Function):
    """The stack of each bucket."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, buckets: Sequence[Bucket]) -> tuple[Tensor, ...]:
        """Return the stacks of all rows; [rows, n] -> [groups, longest, n] each."""
        ctx.buckets, ctx.rows = buckets, len(x)  # type: ignore[attr-defined]
        return tuple(bucket.spread(x) for bucket in buckets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradients of the rows."""
        return whole(ctx.buckets, gradients, ctx.rows), None  # type: ignore[attr-defined]


class Gather(torch.autograd.Function):
    """The rows of the batch, from the stacks of all buckets."""

    @staticmethod
    def forward(ctx: Context, rows: int, buckets: Sequence[Bucket], *stacks: Tensor) -> Tensor:
        """Return all rows; [groups, longest, n] each -> [rows, n]."""
        ctx.buckets = buckets  # type: ignore[attr-defined]
        return whole(buckets, stacks, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the stacks."""
        return None, None, *(bucket.spread(gradients[0]) for bucket in ctx.buckets)  # type: ignore[attr-defined]
