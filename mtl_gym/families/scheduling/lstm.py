"""An LSTM that uses torch's fused kernel for stacked runs.

`torch.func.vmap` cannot batch the fused kernel, and cells of plain operations take two to three times as long. Under
`vmap` the kernel therefore runs once per run; only the operations around it are batched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.typing import Context, VmapInfo

Result = TypeVar("Result")


class LSTM(nn.Module):
    """Unidirectional LSTM of one layer; parameters have the names and shapes of `nn.LSTM`.

    It runs under `torch.func.vmap`, over stacked parameters, stacked inputs or both, and under `torch.func.grad`.
    `backward` outside `vmap` is faster than `grad` inside, which runs the layer a second time.

    Initial matrices are Glorot uniform per gate; initial biases are 0, or 1 for the forget gate.

    Source: Ma and Hovy 2016, section 3.1; Jozefowicz et al. 2015 for the forget gate.

    Args:
        inputs: Width of the inputs.
        hidden: Width of the state.

    Example:
        >>> LSTM(3, 5)(torch.zeros(2, 7, 3)).shape
        torch.Size([2, 7, 5])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden))
        self.hidden = hidden
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw the weights."""
        for weight in (self.weight_ih_l0, self.weight_hh_l0):
            # The bound is that of one gate's matrix, not of all four together.
            bound = math.sqrt(6 / (weight.shape[1] + self.hidden))
            nn.init.uniform_(weight, -bound, bound)
        nn.init.zeros_(self.bias_ih_l0)
        nn.init.zeros_(self.bias_hh_l0)
        nn.init.ones_(self.bias_ih_l0[self.hidden : 2 * self.hidden])

    def forward(self, x: Tensor) -> Tensor:
        """Return the states of all steps; float32 [rows, steps, inputs] -> float32 [rows, steps, hidden]."""
        return _layer(x, self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)


def _layer(x: Tensor, *weights: Tensor) -> Tensor:
    # Without an active transform of torch.func, autograd must see the kernel itself, which saves the values for its
    # backward pass. torch.autograd.Function makes the same check.
    function = _Layer.apply if torch._C._are_functorch_transforms_active() else _fused
    output: Tensor = function(x, *weights)
    return output


def _fused(x: Tensor, *weights: Tensor) -> Tensor:
    start = x.new_zeros(1, len(x), weights[1].shape[1])
    output: Tensor = torch.lstm(x, (start, start), weights, True, 1, 0.0, False, False, True)[0]
    return output


def _gradients(upstream: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        leaves = [part.detach().requires_grad_() for part in inputs]
        return torch.autograd.grad(_fused(*leaves), leaves, upstream)


def _each_run(
    function: Callable[..., Result], count: int, in_dims: Sequence[int | None], parts: Sequence[Tensor]
) -> list[Result]:
    """Return the result of a function for each of `count` stacked runs."""
    stacked = [part if dim is None else part.movedim(dim, 0) for part, dim in zip(parts, in_dims, strict=True)]
    return [
        function(*(part if dim is None else part[run] for part, dim in zip(stacked, in_dims, strict=True)))
        for run in range(count)
    ]


class _Layer(Function):
    @staticmethod
    def forward(x: Tensor, *weights: Tensor) -> Tensor:
        return _fused(x, *weights)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Context, upstream: Tensor) -> tuple[Tensor, ...]:
        gradients: tuple[Tensor, ...] = _Backward.apply(upstream, *ctx.saved_tensors)
        return gradients

    @staticmethod
    def vmap(info: VmapInfo, in_dims: tuple[int | None, ...], *parts: Tensor) -> tuple[Tensor, int]:
        return torch.stack(_each_run(_layer, info.batch_size, in_dims, parts)), 0


class _Backward(Function):
    @staticmethod
    def forward(upstream: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return _gradients(upstream, *inputs)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *upstream: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("mtl_gym's LSTM has first derivatives only; for second derivatives use nn.LSTM.")

    @staticmethod
    def vmap(
        info: VmapInfo, in_dims: tuple[int | None, ...], *parts: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        runs = _each_run(_Backward.apply, info.batch_size, in_dims, parts)
        gradients = tuple(torch.stack(found) for found in zip(*runs, strict=True))
        return gradients, (0,) * len(gradients)
