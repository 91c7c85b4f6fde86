"""The hot kernel: send each row of a batch through the block it was routed to, each block run once.

Rows are brought into the order of their blocks, every block sees its rows as one contiguous batch, and the order is
undone. Linear blocks of one shape need no loop at all while routes are even: their rows are padded to one length and
multiplied as a stack. Which of the two ways is faster depends on the longest segment alone (`benchmarks/dispatch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SPARE_ROWS_PER_BLOCK = 12
SPARE_ROWS_PER_ROW = 1.25


@dataclass(frozen=True)
class Dispatch:
    """Which rows go to which block, worked out on the host, where actions arrive.

    Attributes:
        blocks: The blocks that are used, ascending; int64 [used].
        counts: Rows of each used block; int64 [used].
        order: Rows in the order of their blocks; int64 [rows].
    """

    blocks: NDArray[np.int64]
    counts: NDArray[np.int64]
    order: NDArray[np.int64]
    device: torch.device

    @classmethod
    def of(cls, choices: NDArray[np.int64], device: torch.device | str = "cpu") -> Dispatch:
        """Sort `choices`, the block of each row; int64 [rows]."""
        rows = np.bincount(choices)
        blocks = np.flatnonzero(rows)
        # Stable sorting of 16 bits is a radix sort, several times as fast as of 64.
        order = np.argsort(choices.astype(np.int16), kind="stable")
        return cls(blocks, rows[blocks], order, torch.device(device))

    @property
    def is_sorted(self) -> bool:
        """Whether there is nothing to reorder."""
        return len(self.blocks) <= 1

    @property
    def padding_pays(self) -> bool:
        """Whether a stack padded to the longest segment is cheaper than one product per block."""
        rows, used = len(self.order), len(self.blocks)
        return bool(used * self.counts.max() <= SPARE_ROWS_PER_ROW * rows + SPARE_ROWS_PER_BLOCK * used)

    @cached_property
    def gather(self) -> Tensor:
        """int64 [rows]: position in block order -> row."""
        return torch.from_numpy(self.order).to(self.device, non_blocking=True)

    @cached_property
    def scatter(self) -> Tensor:
        """int64 [rows]: row -> position in block order."""
        inverse = np.empty_like(self.order)
        inverse[self.order] = np.arange(len(self.order))
        return torch.from_numpy(inverse).to(self.device, non_blocking=True)

    @cached_property
    def slots(self) -> Tensor:
        """int64 [rows]: row -> place in the padded stack [used * longest]."""
        starts = np.cumsum(self.counts) - self.counts
        shift = np.arange(len(self.blocks)) * self.counts.max() - starts
        slots = np.empty_like(self.order)
        slots[self.order] = np.arange(len(self.order)) + np.repeat(shift, self.counts)
        return torch.from_numpy(slots).to(self.device, non_blocking=True)


class _Permute(torch.autograd.Function):
    """`x[order]` whose gradient is another gather, not a scatter-add."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradients[0].index_select(0, inverse), None, None


class _SegmentedLinear(torch.autograd.Function):
    """One product per used block on its contiguous rows; `parameters` are all weights, then all biases."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: list[int], *parameters: Tensor) -> Tensor:
        weights, biases = parameters[: len(counts)], parameters[len(counts) :]
        y = x.new_empty(len(x), weights[0].shape[0])
        parts = zip(x.split(counts), weights, biases, y.split(counts), strict=True)
        for rows, weight, bias, out in parts:
            torch.addmm(bias, rows, weight.t(), out=out)
        ctx.save_for_backward(x, *weights)
        ctx.counts = counts
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grads = gradients[0].split(ctx.counts)
        dx = torch.empty_like(x)
        for grad, weight, out in zip(grads, weights, dx.split(ctx.counts), strict=True):
            torch.mm(grad, weight, out=out)
        to_weights = [grad.t() @ rows for grad, rows in zip(grads, x.split(ctx.counts), strict=True)]
        return dx, None, *to_weights, *(grad.sum(0) for grad in grads)


class _PaddedLinear(torch.autograd.Function):
    """All used blocks as one batched product over rows padded to the longest segment; `parameters` as above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Tensor, longest: int, *parameters: Tensor) -> Tensor:
        used = len(parameters) // 2
        weights, biases = torch.stack(parameters[:used]), torch.stack(parameters[used:])
        stack = _spread(x, slots, used, longest)
        ctx.save_for_backward(stack, slots, weights)
        return torch.baddbmm(biases.unsqueeze(1), stack, weights.mT).flatten(0, 1).index_select(0, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        stack, slots, weights = ctx.saved_tensors
        grads = _spread(gradients[0], slots, *stack.shape[:2])
        dx = (grads @ weights).flatten(0, 1).index_select(0, slots)
        return dx, None, None, *(grads.mT @ stack).unbind(), *grads.sum(1).unbind()


def _spread(rows: Tensor, slots: Tensor, used: int, longest: int) -> Tensor:
    stack = rows.new_zeros(used * longest, rows.shape[1])
    return stack.index_copy_(0, slots, rows).view(used, longest, -1)


def linear_stack(blocks: Sequence[nn.Module]) -> bool:
    """Whether all `blocks` are plain linear layers with a bias and one shape, so that the fast ways apply."""
    if not all(type(block) is nn.Linear and block.bias is not None for block in blocks):
        return False
    return len({tuple(block.weight.shape) for block in blocks if isinstance(block, nn.Linear)}) == 1


def apply_blocks(blocks: Sequence[nn.Module], x: Tensor, dispatch: Dispatch, linear: bool) -> Tensor:
    """Send each row of `x` through its block.

    Args:
        blocks: All blocks of the layer; those that no row goes to are not touched and get no gradient.
        x: float32 [rows, *in_shape].
        dispatch: The blocks of the rows.
        linear: What `linear_stack(blocks)` says.

    Returns:
        float32 [rows, *out_shape].
    """
    used = [blocks[block] for block in dispatch.blocks]
    if linear and dispatch.padding_pays and not dispatch.is_sorted:
        return _PaddedLinear.apply(x, dispatch.slots, int(dispatch.counts.max()), *_parameters(used))
    counts = dispatch.counts.tolist()
    rows = x if dispatch.is_sorted else _Permute.apply(x, dispatch.gather, dispatch.scatter)
    if linear:
        y = _SegmentedLinear.apply(rows, counts, *_parameters(used))
    else:
        y = torch.cat([block(part) for block, part in zip(used, rows.split(counts), strict=True)])
    return y if dispatch.is_sorted else _Permute.apply(y, dispatch.scatter, dispatch.gather)


def _parameters(used: Sequence[nn.Module]) -> list[Tensor]:
    linear = [block for block in used if isinstance(block, nn.Linear)]
    return [block.weight for block in linear] + [block.bias for block in linear]
