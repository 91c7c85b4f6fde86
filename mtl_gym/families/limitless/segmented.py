"""Linear layers of many modules, each on its own rows, as one step of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.typing import Context

if TYPE_CHECKING:
    from mtl_gym.families.limitless.stacks import Segments

# Up to so many rows, a sum of outer products is a faster gradient than a matrix product.
FEW_ROWS = 4
# Products of few rows are faster in parts.
PARTS = 8


class Segmented:
    """Linear layers of one shape.

    Gradients of weights are written where those of the last update were, unless these are still in use: with a large
    pool, fresh memory takes the system longer than the product.

    Args:
        layers: `nn.Linear` or `FrozenLinear`, all with a bias or none.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers
        self._gradients: list[Tensor | None] = [None] * len(layers)

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of sorted rows; float32 [rows, *shape, inputs] -> [rows, *shape, outputs]."""
        numbers = segments.members.tolist()
        layers = [self.layers[number] for number in numbers]
        weights, biases = [layer.weight for layer in layers], [getattr(layer, "bias", None) for layer in layers]
        counts = segments.counts
        if x.ndim > 2:
            counts = counts * x[0, ..., 0].numel()
        given = [] if biases[0] is None else biases
        y = _Segmented.apply(x.flatten(0, -2), self, numbers, counts.tolist(), *weights, *given)
        return y.view(*x.shape[:-1], y.shape[-1])

    def place(self, number: int, weight: Tensor) -> Tensor:
        """Return memory for the gradient of a layer's weight."""
        kept = self._gradients[number]
        if kept is None or kept.shape != weight.shape or kept.device != weight.device or _in_use(kept):
            kept = self._gradients[number] = torch.empty_like(weight)
        return kept.view_as(kept)  # autograd copies a gradient that something else holds


def _in_use(kept: Tensor) -> bool:
    """Return whether anything but `kept` and this function holds its memory."""
    return torch._C._storage_Use_Count(kept.untyped_storage()._cdata) > 2


class _SegmentedContext(Context, Protocol):
    layers: Segmented
    numbers: list[int]
    counts: list[int]
    needs_input_grad: tuple[bool, ...]


class _Segmented(torch.autograd.Function):
    """One product per layer on its rows; `parameters` are all weights, then all biases, if there are any."""

    @staticmethod
    def forward(
        ctx: _SegmentedContext, x: Tensor, layers: Segmented, numbers: list[int], counts: list[int], *parameters: Tensor
    ) -> Tensor:
        weights, biases = parameters[: len(counts)], parameters[len(counts) :]
        y = x.new_empty(len(x), weights[0].shape[0])
        for place, (rows, out) in enumerate(zip(x.split(counts), y.split(counts), strict=True)):
            if biases:
                torch.addmm(biases[place], rows, weights[place].t(), out=out)
            else:
                torch.mm(rows, weights[place].t(), out=out)
        ctx.save_for_backward(x, *weights)
        ctx.layers, ctx.numbers, ctx.counts = layers, numbers, counts
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: _SegmentedContext, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grads, rows = gradients[0].contiguous().split(ctx.counts), x.split(ctx.counts)
        dx, used = None, len(weights)
        if ctx.needs_input_grad[0]:
            dx = torch.empty_like(x)
            for grad, weight, out in zip(grads, weights, dx.split(ctx.counts), strict=True):
                torch.mm(grad, weight, out=out)
        needed = ctx.needs_input_grad[4:]
        to_weights = [
            _to_weight(grad, part, ctx.layers.place(number, weight)) if needs else None
            for grad, part, number, weight, needs in zip(grads, rows, ctx.numbers, weights, needed[:used], strict=True)
        ]
        to_biases = [grad.sum(0) if needs else None for grad, needs in zip(grads, needed[used:], strict=False)]
        return dx, None, None, None, *to_weights, *to_biases


def _to_weight(grad: Tensor, rows: Tensor, out: Tensor) -> Tensor:
    """Return `grad.T @ rows` in `out`; [n, outputs] and [n, inputs] -> [outputs, inputs]."""
    if len(rows) > FEW_ROWS:
        parts = PARTS if len(out) % PARTS == 0 else 1
        by_part = grad.view(len(grad), parts, -1).permute(1, 2, 0)
        torch.bmm(by_part, rows.expand(parts, -1, -1), out=out.view(parts, -1, out.shape[1]))
        return out
    torch.mul(grad[0, :, None], rows[0], out=out)
    for one, row in zip(grad[1:], rows[1:], strict=True):
        out.addcmul_(one[:, None], row)
    return out
