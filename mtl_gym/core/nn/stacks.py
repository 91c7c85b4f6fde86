"""Stacked blocks: modules of one structure run as batched products, each on the rows of its group.

Rows are padded to common lengths. A stack gives the bits that the modules give one by one, for BLAS libraries that
compute a row of a product alike whatever the number of rows, if there are at least four of them: fewer rows, and sums
over columns that fill no vector, are taken at their own length (`tests/core/nn/test_stacks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.frozen import FrozenLinear
from mtl_gym.core.nn.typing import Context, Modules

Index = NDArray[np.int64]
Flags = NDArray[np.bool_]
Linear = nn.Linear | FrozenLinear
ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Softplus, nn.Identity)

# From so many rows on, products do not depend on their number, up to where sums over rows are split.
FEWEST, MOST = 4, 128
# Batched products of fewer multiplications run through another kernel.
TINY = 400
# Sums over columns do not depend on zero rows behind, where the columns fill vectors of this size.
VECTOR = 4
# One stack for all groups, if it has at most so many rows for each row and for each group.
SPARE_ROWS_PER_BLOCK = 12
SPARE_ROWS_PER_ROW = 1.25


@dataclass(frozen=True)
class Bucket:
    """Groups that run as one stack.

    Attributes:
        groups: Positions of the groups among those that have rows; int64 [groups].
        lengths: Rows that the result of each group must be that of, zeros behind its own; int64 [groups].
        longest: Rows of the stack.
        rows: Rows of the batch, by group; int64 [rows], on the device.
        slots: Their places in the stack [groups * longest]; int64 [rows], on the device.
    """

    groups: Index
    lengths: Index
    longest: int
    rows: Tensor
    slots: Tensor

    def spread(self, x: Tensor) -> Tensor:
        """Stack the rows of each group, with zeros behind; [rows of the batch, n] -> [groups, longest, n]."""
        stack = x.new_zeros(len(self.groups) * self.longest, *x.shape[1:])
        return stack.index_copy_(0, self.slots, x.index_select(0, self.rows)).unflatten(0, (-1, self.longest))

    def gather(self, stack: Tensor, out: Tensor) -> None:
        """Undo `spread`, into the rows of `out`."""
        out.index_copy_(0, self.rows, stack.flatten(0, 1).index_select(0, self.slots))


class BlockStack:
    """Blocks of one structure: linear maps of one shape each, with elementwise functions between them.

    Args:
        blocks: The blocks.

    Raises:
        ValueError: If they have no such structure; see `fits`.

    Example:
        >>> stack = BlockStack([nn.Sequential(nn.Linear(3, 4), nn.ReLU()) for _ in range(5)])
        >>> stack(torch.zeros(6, 3), Dispatch.of(np.array([0, 4, 4, 1, 0, 2])), runs=1).shape
        torch.Size([6, 4])
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        if not self.fits(blocks):
            raise ValueError("The blocks are not linear maps of equal shapes with equal functions between them.")
        self.blocks = list(blocks)
        self.plain = isinstance(blocks[0], nn.Linear)
        self.steps = [list(step) for step in zip(*map(_parts, blocks), strict=True)]
        self.sizes = [step[0].weight.numel() for step in self.steps if isinstance(step[0], Linear)]

    @classmethod
    def fits(cls, blocks: Sequence[nn.Module]) -> bool:
        """Return whether all blocks are `nn.Linear` or a sequence of such and elementwise functions, all alike."""
        kinds = [tuple(map(_kind, _parts(block))) for block in blocks]
        return None not in kinds[0] and len(set(kinds)) == 1 and any(isinstance(kind, tuple) for kind in kinds[0])

    def __call__(self, x: Tensor, dispatch: Dispatch, runs: int) -> Tensor:
        """Send each row through its block.

        Args:
            x: float32 [rows, inputs].
            dispatch: The blocks of the rows.
            runs: Number of runs among which blocks and rows are divided, in order.

        Returns:
            float32 [rows, outputs].
        """
        lengths, padded = self._lengths(dispatch, len(self.blocks) // runs)
        tiny = lengths * min(self.sizes) < TINY
        alone = tiny & (lengths < FEWEST) & ~padded
        exact = (lengths < FEWEST) | (lengths > MOST) | (tiny & padded)
        buckets = list(self._buckets(dispatch, lengths, exact, alone))
        stacks = _Spread.apply(x, buckets)
        outputs = [self._run(stack, bucket, dispatch) for stack, bucket in zip(stacks, buckets, strict=True)]
        singles = list(_singles(dispatch, alone))
        parts = [self.blocks[dispatch.groups[group]](x[rows]) for group, rows in singles]
        return _Gather.apply(len(x), buckets, [rows for _, rows in singles], *outputs, *parts)

    def _lengths(self, dispatch: Dispatch, each: int) -> tuple[Index, Flags]:
        """Return the rows that each group counts as, its own or the most of its run, and whether it is the latter."""
        counts = dispatch.counts
        if not self.plain:
            return counts, np.zeros(len(counts), bool)
        run = dispatch.groups // each
        used, rows = np.bincount(run), np.bincount(run, counts)
        longest = np.zeros(len(used), np.int64)
        np.maximum.at(longest, run, counts)
        pads = (used > 1) & (used * longest <= SPARE_ROWS_PER_ROW * rows + SPARE_ROWS_PER_BLOCK * used)
        return np.where(pads[run], longest[run], counts), pads[run]

    def _buckets(self, dispatch: Dispatch, lengths: Index, exact: Flags, alone: Flags) -> Iterator[Bucket]:
        starts, counts = np.cumsum(dispatch.counts) - dispatch.counts, dispatch.counts
        usual = counts[~exact]
        one = usual.size * usual.max(initial=0) <= SPARE_ROWS_PER_ROW * usual.sum() + SPARE_ROWS_PER_BLOCK * usual.size
        kind = np.where(exact, lengths, 0 if one else -np.frexp(counts)[1])
        kind[alone] = -FAR
        for value in np.unique(kind[~alone]):
            groups = np.flatnonzero(kind == value)
            least = max(FEWEST, -(-TINY // min(self.sizes)))
            longest = int(value) if value > 0 else max(int(counts[groups].max()), least)
            yield _bucket(dispatch, groups, lengths[groups], longest, starts)

    def _run(self, x: Tensor, bucket: Bucket, dispatch: Dispatch) -> Tensor:
        blocks = dispatch.groups[bucket.groups]
        for step in self.steps:
            x = _apply(step, x, blocks, bucket.lengths) if isinstance(step[0], Linear) else step[0](x)
        return x


FAR = 10**9


def _bucket(dispatch: Dispatch, groups: Index, lengths: Index, longest: int, starts: Index) -> Bucket:
    counts = dispatch.counts[groups]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = dispatch.order[np.repeat(starts[groups], counts) + within]
    slots = np.repeat(np.arange(len(groups)) * longest, counts) + within
    return Bucket(groups, lengths, longest, *(torch.from_numpy(one).to(dispatch.device) for one in (rows, slots)))


def _singles(dispatch: Dispatch, alone: Flags) -> Iterator[tuple[int, Tensor]]:
    starts = np.cumsum(dispatch.counts) - dispatch.counts
    for group in np.flatnonzero(alone):
        rows = dispatch.order[starts[group] : starts[group] + dispatch.counts[group]]
        yield int(group), torch.from_numpy(rows).to(dispatch.device)


def _apply(step: Sequence[nn.Module], x: Tensor, blocks: Index, lengths: Index) -> Tensor:
    maps = [step[block] for block in blocks]
    weights = [one.weight for one in maps if isinstance(one, Linear)]
    if isinstance(maps[0], FrozenLinear):
        return x @ torch.stack(weights).mT
    return _StackedLinear.apply(x, lengths, *weights, *(one.bias for one in maps if isinstance(one, nn.Linear)))


def _parts(block: nn.Module) -> list[nn.Module]:
    return list(block) if type(block) is nn.Sequential else [block]


def _kind(part: nn.Module) -> object:
    """Return what parts must have in common to run as one; None for a part that cannot."""
    if type(part) is nn.Linear and part.bias is not None or type(part) is FrozenLinear:
        return (type(part).__name__, tuple(part.weight.shape))
    return repr(part) if type(part) in ELEMENTWISE else None


class _Spread(torch.autograd.Function):
    """The stack of each bucket."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, buckets: Sequence[Bucket]) -> tuple[Tensor, ...]:
        ctx.buckets, ctx.rows = buckets, len(x)  # type: ignore[attr-defined]
        return tuple(bucket.spread(x) for bucket in buckets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        dx = gradients[0].new_zeros(ctx.rows, *gradients[0].shape[2:])  # type: ignore[attr-defined]
        for bucket, gradient in zip(ctx.buckets, gradients, strict=True):  # type: ignore[attr-defined]
            bucket.gather(gradient, dx)
        return dx, None


class _Gather(torch.autograd.Function):
    """The rows of the batch, from the stacks of the buckets and the outputs of single groups."""

    @staticmethod
    def forward(
        ctx: Context, rows: int, buckets: Sequence[Bucket], singles: Sequence[Tensor], *outputs: Tensor
    ) -> Tensor:
        ctx.buckets, ctx.singles = buckets, singles  # type: ignore[attr-defined]
        y = outputs[0].new_empty(rows, outputs[0].shape[-1])
        for bucket, stack in zip(buckets, outputs, strict=False):
            bucket.gather(stack, y)
        for single, part in zip(singles, outputs[len(buckets) :], strict=True):
            y.index_copy_(0, single, part)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        stacks = [bucket.spread(gradients[0]) for bucket in ctx.buckets]  # type: ignore[attr-defined]
        parts = [gradients[0].index_select(0, single) for single in ctx.singles]  # type: ignore[attr-defined]
        return None, None, None, *stacks, *parts


class _StackedLinear(torch.autograd.Function):
    """A linear map of each group on its rows [groups, longest, inputs]; `parameters`: all weights, then all biases."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, lengths: Index, *parameters: Tensor) -> Tensor:
        weights = torch.stack(parameters[: len(x)])
        biases = torch.stack(parameters[len(x) :])
        ctx.save_for_backward(x, weights)
        ctx.lengths = lengths  # type: ignore[attr-defined]
        return torch.baddbmm(biases.unsqueeze(1), x, weights.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors
        gradient = gradients[0]
        biases = _sums(gradient, ctx.lengths)  # type: ignore[attr-defined]
        return gradient @ weights, None, *(gradient.mT @ x).unbind(), *biases


def _sums(gradient: Tensor, lengths: Index) -> tuple[Tensor, ...]:
    """Return the sum of the rows of each group, as over `lengths` rows; [groups, longest, n] -> [n] each."""
    if gradient.shape[2] % VECTOR == 0 or (lengths == gradient.shape[1]).all():
        return gradient.sum(1).unbind()
    sums = gradient.new_empty(len(gradient), gradient.shape[2])
    missing = max(int(lengths.max()) - gradient.shape[1], 0)
    whole = nn.functional.pad(gradient, (0, 0, 0, missing)) if missing else gradient
    order = np.argsort(lengths, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(lengths[order])) + 1).tolist(), len(order)]
    for first, last in pairwise(edges):
        alike = torch.from_numpy(order[first:last]).to(gradient.device)
        sums[alike] = whole[alike, : int(lengths[order[first]])].sum(1)
    return sums.unbind()


def apply_blocks(blocks: Modules[nn.Module], stack: BlockStack | None, x: Tensor, dispatch: Dispatch, runs: int) -> Tensor:
    """Send each row of `x` through its block.

    Args:
        blocks: One per group; blocks without rows are not run and get no gradient.
        stack: The blocks as a stack; None for blocks of other structures, which run one by one.
        x: float32 [rows, *in_shape].
        dispatch: The blocks of the rows.
        runs: Number of runs among which blocks and rows are divided, in order.

    Returns:
        float32 [rows, *out_shape].
    """
    if stack is not None:
        return stack(x, dispatch, runs)
    parts = zip(dispatch.groups, dispatch.split(x), strict=True)
    return dispatch.unsort(torch.cat([blocks[block](part) for block, part in parts]))
