"""Stacked blocks: modules of one structure run as batched products, each on the rows of its group.

Rows are padded to common lengths. A stack gives the bits that the modules give one by one, for BLAS libraries that
compute a row of a product alike whatever the number of rows, if there are at least four of them: fewer rows, and sums
over columns that fill no vector, are taken at their own length (`tests/core/nn/test_stacks.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from mtl_gym.core.nn.buckets import Bucket, Gather, Index, Spread, on_device
from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.frozen import FrozenLinear
from mtl_gym.core.nn.layers import hooks_of
from mtl_gym.core.nn.leaves import Flags, FusedLinear, Leaf, LooseLinear, StackedLinear, Tapped, safe
from mtl_gym.core.nn.typing import Modules

Linear = nn.Linear | FrozenLinear
ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Softplus, nn.Identity)

# From so many rows on, products do not depend on their number, up to where sums over rows are split.
FEWEST, MOST = 4, 128
# Batched products of fewer multiplications run through another kernel.
TINY = 400
# Most groups that run one by one in place of a stack.
LOOSE = 8
# One stack for all groups, if it has at most so many rows for each row and for each group.
SPARE_ROWS_PER_BLOCK = 12
SPARE_ROWS_PER_ROW = 1.25


class BlockStack:
    """Blocks of one structure: linear maps of one shape each, with elementwise functions between them.

    After `fuse`, gradients of what is computed within `gathering` are gathered in `leaves`, not in the parameters, and
    `FusedAdam` takes the steps.

    Args:
        blocks: The blocks.

    Attributes:
        leaves: Parameters after `fuse`.
        gathers: Whether gradients of what is computed now are gathered.

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
        last = self.steps[-1][0] if self.plain else None
        self._safe = isinstance(last, nn.Linear) and safe(last.out_features)
        self._least = max(FEWEST, -(-TINY // min(self.sizes)))
        self.leaves: list[Leaf] = []
        self.gathers = False
        self._matrices: dict[int, Tensor] = {}
        self._anchor = torch.zeros(0, requires_grad=True)
        self._hooks = hooks_of(blocks)

    def __reduce__(self) -> tuple[Callable[..., BlockStack | None], tuple[list[nn.Module]]]:
        """Return what copies and pickles are made of: the blocks, each with parameters of its own."""
        return BlockStack.of, (self.blocks,)

    @classmethod
    def of(cls, blocks: Sequence[nn.Module]) -> BlockStack | None:
        """Return a stack of the blocks, or None if they do not fit."""
        return cls(blocks) if cls.fits(blocks) else None

    def fuse(self) -> None:
        """Gather the parameters in `leaves`, if all train."""
        maps = [step for step in self.steps if isinstance(step[0], nn.Linear)]
        places = [(list(step), name) for step in maps for name in ("weight", "bias")]
        if all(getattr(owner, name).requires_grad for owners, name in places for owner in owners):
            self.leaves = [Leaf.of(*place) for place in places]

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of all blocks."""
        for block in self.blocks:
            yield from block.parameters()

    def clear(self) -> None:
        """Forget all gradients."""
        for leaf in self.leaves:
            leaf.touched[:] = False

    def deliver(self) -> None:
        """Hand the gathered gradients over to the parameters, for other optimizers than `FusedAdam`."""
        for leaf in self.leaves:
            for block in leaf.trained.tolist():
                leaf.members[block].grad = leaf.gradient[block].clone()
        self.clear()

    @classmethod
    def fits(cls, blocks: Sequence[nn.Module]) -> bool:
        """Return whether all blocks are `nn.Linear` or a sequence of such and elementwise functions, all alike.

        Blocks with hooks do not fit, because hooks belong to calls of a module. A stack whose blocks get hooks later
        calls them one by one.
        """
        if any(hooks_of(blocks)):
            return False
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
        for leaf in self.leaves:
            leaf.settle()
        if any(self._hooks):
            return each_alone([partial(self._call, place) for place in range(len(self.blocks))], x, dispatch)
        buckets = self._buckets(dispatch, *self._lengths(dispatch, len(self.blocks) // runs))
        stacks = Spread.apply(x, buckets)
        outputs = [self._run(stack, bucket, dispatch) for stack, bucket in zip(stacks, buckets, strict=True)]
        return Gather.apply(len(x), buckets, *outputs)

    def _call(self, block: int, x: Tensor) -> Tensor:
        """Call one block, so that its hooks are called as well; float32 [rows, inputs] -> [rows, outputs]."""
        module, own = self.blocks[block], self.leaves if self.gathers else []
        names = {id(p): name for name, p in module.named_parameters()}
        tapped = {names[id(leaf.members[block])]: Tapped.apply(leaf.members[block], leaf, block) for leaf in own}
        y: Tensor = functional_call(module, tapped, (x,)) if tapped else module(x)
        return y

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

    def _buckets(self, dispatch: Dispatch, lengths: Index, padded: Flags) -> list[Bucket]:
        """Divide the groups among stacks; groups of few rows, or few groups, run one by one."""
        counts, tiny = dispatch.counts, lengths * min(self.sizes) < TINY
        alike = (counts >= FEWEST) & (lengths >= FEWEST) & ~tiny & self._safe
        loose = bool((~padded | alike).all())
        if loose and len(counts) <= LOOSE:
            return [self._one_by_one(dispatch, np.arange(len(counts)))]
        alone = tiny & (lengths < FEWEST) & ~padded
        exact = (lengths < FEWEST) | (lengths > MOST) | (tiny & padded)
        if not exact.any() and self.pays(counts):
            longest = max(dispatch.longest, self._least)
            return [Bucket(np.arange(len(lengths)), lengths, longest, dispatch.slots_in(longest))]
        kind = np.where(exact, lengths, 0 if self.pays(counts[~exact]) else -np.frexp(counts)[1])
        kinds = np.unique(kind[~alone])
        if loose and len(counts) <= LOOSE * len(kinds):
            return [self._one_by_one(dispatch, np.arange(len(counts)))]
        stacks = [self._stack(dispatch, np.flatnonzero((kind == one) & ~alone), lengths, int(one)) for one in kinds]
        return [*stacks, self._one_by_one(dispatch, np.flatnonzero(alone))] if alone.any() else stacks

    def _stack(self, dispatch: Dispatch, groups: Index, lengths: Index, kind: int) -> Bucket:
        """Return a stack of some groups, of so many rows if `kind` is above 0."""
        longest = kind if kind > 0 else max(int(dispatch.counts[groups].max()), self._least)
        return Bucket.of(dispatch, groups, lengths[groups], longest)

    def _one_by_one(self, dispatch: Dispatch, groups: Index) -> Bucket:
        return Bucket.of(dispatch, groups, dispatch.counts[groups], 0)

    def _run(self, x: Tensor, bucket: Bucket, dispatch: Dispatch) -> Tensor:
        blocks, leaf = dispatch.groups[bucket.groups], 0
        fused = self.leaves and (self.gathers or not torch.is_grad_enabled())
        trains = any(p.requires_grad for one in self.leaves for p in one.members)
        anchor = self._anchor if trains else self._anchor.detach()
        for step in self.steps:
            if fused and isinstance(step[0], nn.Linear):
                function = FusedLinear if bucket.longest else LooseLinear
                x = function.apply(x, anchor, self.leaves[leaf : leaf + 2], blocks, bucket.lengths)
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
        return StackedLinear.apply(x, bucket.lengths, *[one.weight for one in maps], *[one.bias for one in maps])

    def _frozen(self, step: Sequence[nn.Module], blocks: Index) -> Tensor:
        """Return the matrices of some blocks, which never change; float32 [n, outputs, inputs]."""
        maps = [one for one in step if isinstance(one, FrozenLinear)]
        device = maps[0].weight.device
        known = self._matrices.get(id(step))
        if known is None or known.device != device:
            known = self._matrices[id(step)] = torch.stack([one.weight for one in maps])
        return known if len(blocks) == len(known) else known.index_select(0, on_device(blocks, device))


@contextmanager
def gathering(stack: BlockStack | None) -> Iterator[None]:
    """Let the gradients of what a stack computes in the context gather in its leaves, once they are computed.

    Elsewhere gradients go to the parameters, so that a caller's own do not mix with those of the next step.
    """
    if stack is not None:
        stack.gathers = True
    try:
        yield
    finally:
        if stack is not None:
            stack.gathers = False


def _parts(block: nn.Module) -> list[nn.Module]:
    return list(block) if type(block) is nn.Sequential else [block]


def _is_plain(part: nn.Linear) -> bool:
    """Return whether weight and bias are parameters of the layer itself, and no parametrisation."""
    return all(isinstance(p, nn.Parameter) for p in (part.weight, part.bias))


def _kind(part: nn.Module) -> object:
    """Return what parts must have in common to run as one; None for a part that cannot."""
    if (type(part) is nn.Linear and _is_plain(part)) or type(part) is FrozenLinear:
        return (type(part).__name__, tuple(part.weight.shape), part.weight.dtype)
    return repr(part) if type(part) in ELEMENTWISE else None


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
    return each_alone(blocks, x, dispatch)


def each_alone(
    blocks: Modules[nn.Module] | Sequence[Callable[[Tensor], Tensor]], x: Tensor, dispatch: Dispatch
) -> Tensor:
    """Call each block that has rows on these; float32 [rows, *in_shape] -> [rows, *out_shape]."""
    parts = zip(dispatch.groups, dispatch.split(x), strict=True)
    return dispatch.unsort(torch.cat([blocks[block](part) for block, part in parts]))
