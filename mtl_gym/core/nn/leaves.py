"""Linear maps of stacked blocks: parameters in one tensor, and products whose gradients gather there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.buckets import Index, on_device
from mtl_gym.core.nn.typing import Context

Flags = NDArray[np.bool_]
# Numbers of columns, beside multiples of 32, whose sums do not depend on zero rows behind.
SAFE_COLUMNS = 4


@dataclass(frozen=True)
class Leaf:
    """One parameter of every block, in one tensor of which the blocks' own are views.

    Attributes:
        owners: The modules that hold the parameters.
        name: Name of the parameters there.
        members: The parameters; [...] each.
        places: Addresses of their values.
        values: Their values; [blocks, ...].
        gradient: Their gradients; [blocks, ...].
        touched: Blocks that have a gradient, of which others are left over from before; bool [blocks].
        device: Their device.
    """

    owners: list[nn.Module]
    name: str
    members: list[nn.Parameter]
    places: list[int]
    values: Tensor
    gradient: Tensor
    touched: Flags
    device: torch.device

    @classmethod
    def of(cls, owners: list[nn.Module], name: str) -> Leaf:
        """Move parameters of one shape into one tensor."""
        members = [getattr(owner, name) for owner in owners]
        values = torch.stack([p.data for p in members])
        for p, value in zip(members, values, strict=True):
            p.data = value
        own = members, [p.data_ptr() for p in members], values, torch.zeros_like(values)
        return cls(owners, name, *own, np.zeros(len(members), bool), values.device)

    def settle(self) -> None:
        """Take over values that were set as `data` of parameters, as by `nn.utils.vector_to_parameters`.

        Raises:
            ValueError: If a parameter was replaced by another, or has another dtype or device now.
        """
        held = [owner._parameters.get(self.name) for owner in self.owners]
        if [0 if p is None else p.data_ptr() for p in held] == self.places:
            return
        for p, member, value in zip(held, self.members, self.values, strict=True):
            if p is not member or (p.dtype, p.device) != (value.dtype, value.device):
                raise ValueError(
                    "Parameters of blocks were replaced or converted after their optimizer was made: copy values into "
                    "the parameters that are there, as load_state_dict does without assign=True, or make another "
                    "environment with the network."
                )
            value.data.copy_(p.data)
            p.data = value

    @property
    def trained(self) -> Index:
        """Blocks whose parameter trains and has a gradient; int64 [n]."""
        blocks = np.flatnonzero(self.touched)
        trains = [self.members[block].requires_grad for block in blocks.tolist()]
        return blocks if all(trains) else blocks[trains]

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

    def room(self, blocks: Index) -> Tensor | None:
        """Return where the gradients of some blocks may be written; None where they must be added."""
        if len(blocks) != len(self.values) or self.touched.any():
            return None
        self.touched[:] = True
        return self.gradient

    def room_for_one(self, block: int) -> Tensor | None:
        """Return where the gradient of a block may be written; None where it must be added."""
        if self.touched[block]:
            return None
        self.touched[block] = True
        return self.gradient[block]

    def of_blocks(self, blocks: Index) -> Tensor:
        """Return the values of some blocks, ascending; [n, ...]."""
        whole = len(blocks) == len(self.values)
        return self.values if whole else self.values.index_select(0, on_device(blocks, self.device))


class Tapped(torch.autograd.Function):
    """The parameter of one block, whose gradient goes to its leaf."""

    @staticmethod
    def forward(ctx: Context, parameter: Tensor, leaf: Leaf, block: int) -> Tensor:
        """Return the parameter as it is."""
        ctx.more = leaf, block  # type: ignore[attr-defined]
        return parameter.view_as(parameter)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[None, ...]:
        """Keep the gradient in the leaf."""
        leaf, block = ctx.more  # type: ignore[attr-defined]
        leaf.add(np.array([block]), gradients[0][None])
        return None, None, None


class StackedLinear(torch.autograd.Function):
    """A linear map of each group on its rows [groups, longest, inputs]; `parameters`: all weights, then all biases."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, lengths: Index, *parameters: Tensor) -> Tensor:
        """Return the outputs; [groups, longest, outputs]."""
        weights = torch.stack(parameters[: len(x)])
        biases = torch.stack(parameters[len(x) :])
        ctx.save_for_backward(x, weights)
        ctx.lengths, ctx.device = lengths, x.device  # type: ignore[attr-defined]
        return torch.baddbmm(biases.unsqueeze(1), x, weights.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of rows and parameters."""
        x, weights = ctx.saved_tensors
        gradient = gradients[0]
        biases = _sums(gradient, ctx.lengths, ctx.device)  # type: ignore[attr-defined]
        return gradient @ weights, None, *(gradient.mT @ x).unbind(), *biases.unbind()


class FusedLinear(torch.autograd.Function):
    """`StackedLinear` of fused parameters, `leaves` of weights and biases; the anchor lets gradients flow to them."""

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, anchor: Tensor, leaves: Sequence[Leaf], blocks: Index, lengths: Index
    ) -> Tensor:
        """Return the outputs; [groups, longest, outputs]."""
        weights, biases = (one.of_blocks(blocks) for one in leaves)
        ctx.save_for_backward(x, weights)
        ctx.more = leaves, blocks, lengths  # type: ignore[attr-defined]
        return torch.baddbmm(biases.unsqueeze(1), x, weights.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the rows; keep those of the parameters in the leaves."""
        x, weights = ctx.saved_tensors
        (of_weights, of_biases), blocks, lengths = ctx.more  # type: ignore[attr-defined]
        gradient = gradients[0]
        room = of_weights.room(blocks)
        if room is None:
            of_weights.add(blocks, gradient.mT @ x)
        else:
            torch.bmm(gradient.mT, x, out=room)
        of_biases.add(blocks, _sums(gradient, lengths, of_biases.device))
        dx = gradient @ weights if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None


class LooseLinear(torch.autograd.Function):
    """Linear maps of a fused stack, one by one on the rows of each group, which follow one another."""

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, anchor: Tensor, leaves: Sequence[Leaf], blocks: Index, lengths: Index
    ) -> Tensor:
        """Return the outputs; [rows, outputs]."""
        weights, biases = (one.values for one in leaves)
        ctx.save_for_backward(x)
        ctx.more = leaves, blocks, lengths.tolist()  # type: ignore[attr-defined]
        parts = zip(x.split(lengths.tolist()), blocks.tolist(), strict=True)
        return torch.cat([nn.functional.linear(part, weights[block], biases[block]) for part, block in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the rows; keep those of the parameters in the leaves."""
        (of_weights, of_biases), blocks, lengths = ctx.more  # type: ignore[attr-defined]
        weights, parts = of_weights.values, ctx.saved_tensors[0].split(lengths)
        grads = gradients[0].split(lengths)
        for grad, part, block in zip(grads, parts, blocks.tolist(), strict=True):
            room = of_weights.room_for_one(block)
            if room is None:
                of_weights.gradient[block] += grad.t() @ part
            else:
                torch.mm(grad.t(), part, out=room)
        of_biases.add(blocks, torch.stack([grad.sum(0) for grad in grads]))
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        dx = [grad @ weights[block] for grad, block in zip(grads, blocks.tolist(), strict=True)]
        return torch.cat(dx), None, None, None, None


def _sums(gradient: Tensor, lengths: Index, device: torch.device) -> Tensor:
    """Return the sum of the rows of each group, as over `lengths` rows; [groups, longest, n] -> [groups, n]."""
    if safe(gradient.shape[2]) or (lengths == gradient.shape[1]).all():
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


def safe(columns: int) -> bool:
    """Return whether sums over so many columns do not depend on zero rows behind."""
    return columns == SAFE_COLUMNS or columns % 32 == 0
