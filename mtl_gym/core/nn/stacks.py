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

from mtl_gym.core.nn.buckets import Bucket, Gather, Index, Spread, on_device
from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.frozen import FrozenLinear
from mtl_gym.core.nn.typing import Context, Modules

Flags = NDArray[np.bool_]
Linear = nn.Linear | FrozenLinear
ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Softplus, nn.Identity)

# From so many rows on, products do not depend on their number, up to where sums over rows are split.
FEWEST, MOST = 4, 128
# Batched products of fewer multiplications run through another kernel.
TINY = 400
# Numbers of columns, beside multiples of 32, whose sums do not depend on zero rows behind.
SAFE_COLUMNS = 4
# One stack for all groups, if it has at most so many rows for each row and for each group.
SPARE_ROWS_PER_BLOCK = 12
SPARE_ROWS_PER_ROW = 1.25


@dataclass(frozen=True)
class Leaf:
    """One parameter of every block, in one tensor of which the blocks' own are views.

    Attributes:
        members: The parameters; [...] each.
        values: Their values; [blocks, ...].
        gradient: Their gradients; [blocks, ...].
        touched: Blocks that have a gradient, of which others are left over from before; bool [blocks].
        device: Their device.
    """

    members: list[nn.Parameter]
    values: Tensor
    gradient: Tensor
    touched: Flags
    device: torch.device

    @classmethod
    def of(cls, members: list[nn.Parameter]) -> Leaf:
        """Move parameters of one shape into one tensor."""
        values = torch.stack([p.data for p in members])
        for p, value in zip(members, values, strict=True):
            p.data = value
        return cls(members, values, torch.zeros_like(values), np.zeros(len(members), bool), values.device)

    def add(self, blocks: Index, gradient: Tensor) -> None:
        """Add to the gradients of some blocks, ascending; int64 [n] and [n, ...]."""
        first = ~self.touched[blocks]
        self.touched[blocks] = True
        if first.all() and len(blocks) == len(self.values):
            self.gradient.copy_(gradient)
            return
        for part, put in ((first, self.gradient.index_copy_), (~first, self.gradient.index_add_)):
            if part.any():
                chosen = (
                    gradient if part.all() else gradient.index_select(0, on_device(np.flatnonzero(part), self.device))
                )
                put(0, on_device(blocks[part], self.device), chosen)

    def of_blocks(self, blocks: Index) -> Tensor:
        """Return the values of some blocks, ascending; [n, ...]."""
        whole = len(blocks) == len(self.values)
        return self.values if whole else self.values.index_select(0, on_device(blocks, self.device))


class BlockStack:
    """Blocks of one structure: linear maps of one shape each, with elementwise functions between them.

    After `fuse`, gradients are gathered in `leaves`, not in the parameters, and `FusedAdam` takes the steps.

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
        self._least = max(FEWEST, -(-TINY // min(self.sizes)))
        self.leaves: list[Leaf] = []
        self._matrices: dict[int, Tensor] = {}
        self._anchor = torch.zeros(0, requires_grad=True)

    def __reduce__(self) -> tuple[type[BlockStack], tuple[list[nn.Module]]]:
        """Return what copies and pickles are made of: the blocks, each with parameters of its own."""
        return BlockStack, (self.blocks,)

    def fuse(self) -> None:
        """Gather the parameters in `leaves`, if all train."""
        maps = [step for step in self.steps if isinstance(step[0], nn.Linear)]
        members = [[getattr(one, name) for one in step] for step in maps for name in ("weight", "bias")]
        if all(p.requires_grad for parameters in members for p in parameters):
            self.leaves = [Leaf.of(parameters) for parameters in members]

    def clear(self) -> None:
        """Forget all gradients."""
        for leaf in self.leaves:
            leaf.touched[:] = False

    @property
    def trained(self) -> Index:
        """Blocks that have a gradient; int64 [n]."""
        return np.flatnonzero(self.leaves[0].touched)

    def add(self, first: int, blocks: Index, gradients: Sequence[Tensor]) -> None:
        """Add the gradients of two neighbouring leaves, [n, ...] each, at some blocks; int64 [n]."""
        for leaf, gradient in zip(self.leaves[first : first + 2], gradients, strict=True):
            leaf.add(blocks, gradient)

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
        stacks = Spread.apply(x, buckets)
        outputs = [self._run(stack, bucket, dispatch) for stack, bucket in zip(stacks, buckets, strict=True)]
        return Gather.apply(len(x), buckets, *outputs)

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

    @staticmethod
    def pays(counts: Index) -> bool:
        """Return whether one stack for groups of these numbers of rows is cheaper than several."""
        size, rows = len(counts), int(counts.sum())
        return bool(size * counts.max(initial=0) <= SPARE_ROWS_PER_ROW * rows + SPARE_ROWS_PER_BLOCK * size)

    def _buckets(self, dispatch: Dispatch, lengths: Index, exact: Flags, alone: Flags) -> Iterator[Bucket]:
        counts = dispatch.counts
        if not exact.any() and self.pays(counts):
            longest = max(dispatch.longest, self._least)
            yield Bucket(np.arange(len(lengths)), lengths, longest, dispatch.slots_in(longest))
            return
        usual = counts[~exact]
        kind = np.where(exact, lengths, 0 if self.pays(usual) else -np.frexp(counts)[1])
        for value in np.unique(kind[~alone]):
            groups = np.flatnonzero((kind == value) & ~alone)
            longest = int(value) if value > 0 else max(int(counts[groups].max()), self._least)
            yield Bucket.of(dispatch, groups, lengths[groups], longest)
        if alone.any():
            groups = np.flatnonzero(alone)
            yield Bucket.of(dispatch, groups, counts[groups], 0)

    def _run(self, x: Tensor, bucket: Bucket, dispatch: Dispatch) -> Tensor:
        blocks, leaf = dispatch.groups[bucket.groups], 0
        for step in self.steps:
            if self.leaves and isinstance(step[0], nn.Linear):
                function = _FusedLinear if bucket.longest else _LooseLinear
                x = function.apply(x, self._anchor, self, leaf, blocks, bucket.lengths)
                leaf += 2
            elif isinstance(step[0], Linear):
                x = self._linear(step, x, bucket, blocks)
            else:
                x = step[0](x)
        return x

    def _linear(self, step: Sequence[nn.Module], x: Tensor, bucket: Bucket, blocks: Index) -> Tensor:
        """Apply linear maps that are not fused."""
        if not bucket.longest:
            parts = zip(x.split(bucket.lengths.tolist()), blocks.tolist(), strict=True)
            return torch.cat([step[block](part) for part, block in parts])
        if isinstance(step[0], FrozenLinear):
            return x @ self._frozen(step, blocks).mT
        maps = [one for one in (step[block] for block in blocks) if isinstance(one, nn.Linear)]
        return _StackedLinear.apply(x, bucket.lengths, *[one.weight for one in maps], *[one.bias for one in maps])

    def _frozen(self, step: Sequence[nn.Module], blocks: Index) -> Tensor:
        """Return the matrices of some blocks, which never change; float32 [n, outputs, inputs]."""
        maps = [one for one in step if isinstance(one, FrozenLinear)]
        device = maps[0].weight.device
        known = self._matrices.get(id(step))
        if known is None or known.device != device:
            known = self._matrices[id(step)] = torch.stack([one.weight for one in maps])
        return known if len(blocks) == len(known) else known.index_select(0, on_device(blocks, device))


def _parts(block: nn.Module) -> list[nn.Module]:
    return list(block) if type(block) is nn.Sequential else [block]


def _kind(part: nn.Module) -> object:
    """Return what parts must have in common to run as one; None for a part that cannot."""
    if (type(part) is nn.Linear and part.bias is not None) or type(part) is FrozenLinear:
        return (type(part).__name__, tuple(part.weight.shape))
    return repr(part) if type(part) in ELEMENTWISE else None


class _StackedLinear(torch.autograd.Function):
    """A linear map of each group on its rows [groups, longest, inputs]; `parameters`: all weights, then all biases."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, lengths: Index, *parameters: Tensor) -> Tensor:
        weights = torch.stack(parameters[: len(x)])
        biases = torch.stack(parameters[len(x) :])
        ctx.save_for_backward(x, weights)
        ctx.lengths, ctx.device = lengths, x.device  # type: ignore[attr-defined]
        return torch.baddbmm(biases.unsqueeze(1), x, weights.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors
        gradient = gradients[0]
        biases = _sums(gradient, ctx.lengths, ctx.device)  # type: ignore[attr-defined]
        return gradient @ weights, None, *(gradient.mT @ x).unbind(), *biases.unbind()


class _FusedLinear(torch.autograd.Function):
    """`_StackedLinear` of a fused stack; the anchor lets gradients flow where `x` needs none."""

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, anchor: Tensor, stack: BlockStack, leaf: int, blocks: Index, lengths: Index
    ) -> Tensor:
        weights, biases = (one.of_blocks(blocks) for one in stack.leaves[leaf : leaf + 2])
        ctx.save_for_backward(x, weights)
        ctx.more = stack, leaf, blocks, lengths  # type: ignore[attr-defined]
        return torch.baddbmm(biases.unsqueeze(1), x, weights.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors
        stack, leaf, blocks, lengths = ctx.more  # type: ignore[attr-defined]
        gradient = gradients[0]
        stack.add(leaf, blocks, (gradient.mT @ x, _sums(gradient, lengths, stack.leaves[leaf].device)))
        dx = gradient @ weights if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None, None


class _LooseLinear(torch.autograd.Function):
    """Linear maps of a fused stack, one by one on the rows of each group, which follow one another."""

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, anchor: Tensor, stack: BlockStack, leaf: int, blocks: Index, lengths: Index
    ) -> Tensor:
        weights, biases = (one.values for one in stack.leaves[leaf : leaf + 2])
        ctx.save_for_backward(x)
        ctx.more = stack, leaf, blocks, lengths.tolist()  # type: ignore[attr-defined]
        parts = zip(x.split(lengths.tolist()), blocks.tolist(), strict=True)
        return torch.cat([nn.functional.linear(part, weights[block], biases[block]) for part, block in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        stack, leaf, blocks, lengths = ctx.more  # type: ignore[attr-defined]
        weights, parts = stack.leaves[leaf].values, ctx.saved_tensors[0].split(lengths)
        grads = gradients[0].split(lengths)
        to_weights = torch.stack([grad.t() @ part for grad, part in zip(grads, parts, strict=True)])
        stack.add(leaf, blocks, (to_weights, torch.stack([grad.sum(0) for grad in grads])))
        dx = [grad @ weights[block] for grad, block in zip(grads, blocks.tolist(), strict=True)]
        return torch.cat(dx), None, None, None, None, None


def _sums(gradient: Tensor, lengths: Index, device: torch.device) -> Tensor:
    """Return the sum of the rows of each group, as over `lengths` rows; [groups, longest, n] -> [groups, n]."""
    if gradient.shape[2] == SAFE_COLUMNS or gradient.shape[2] % 32 == 0 or (lengths == gradient.shape[1]).all():
        return gradient.sum(1)
    sums = gradient.new_empty(len(gradient), gradient.shape[2])
    missing = max(int(lengths.max()) - gradient.shape[1], 0)
    whole = nn.functional.pad(gradient, (0, 0, 0, missing)) if missing else gradient
    order = np.argsort(lengths, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(lengths[order])) + 1).tolist(), len(order)]
    for first, last in pairwise(edges):
        alike = on_device(order[first:last], device)
        part = whole.index_select(0, alike)[:, : int(lengths[order[first]])].contiguous()
        sums.index_copy_(0, alike, part.sum(1))
    return sums


def apply_blocks(
    blocks: Modules[nn.Module], stack: BlockStack | None, x: Tensor, dispatch: Dispatch, runs: int
) -> Tensor:
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
