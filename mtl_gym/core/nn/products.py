"""Linear maps by oneDNN, where torch has it.

On processors for which MKL has no AVX-512 kernels, oneDNN's products are twice as fast. It compiles kernels for each
number of rows, so that these should be `rounded`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mtl_gym.core.nn.typing import Context


def rounded(rows: int) -> int:
    """Return the next of eight numbers between one power of two and the next.

    Example:
        >>> rounded(5), rounded(1000), rounded(1025)
        (5, 1024, 1152)
    """
    step = 1 << max((rows - 1).bit_length() - 4, 0)
    return -(-rows // step) * step


def linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """Return `x @ weight.T + bias`, or its positive part.

    Args:
        x: [rows, inputs]; oneDNN takes float32 on the CPU, others run by `torch.nn.functional.linear`.
        weight: [outputs, inputs].
        bias: [outputs].
        relu: Return the positive part.

    Returns:
        [rows, outputs].

    Example:
        >>> linear(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1)).flatten()
        tensor([4., 4.])
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and _has_onednn():
        return _Linear.apply(x.contiguous(), weight, bias, relu)
    y = functional.linear(x, weight, bias)
    return y.relu_() if relu else y


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")
    return y


class _LinearContext(Context, Protocol):
    relu: bool


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _LinearContext, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        y = _product(x, weight, bias, "relu" if relu else "none")
        ctx.save_for_backward(x, weight, *([y] if relu else []))
        ctx.relu = relu
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: _LinearContext, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *outputs = ctx.saved_tensors
        grad = gradients[
            0
        ].contiguous()  # other strides than those of matrices and their transposes have no fast kernel
        if ctx.relu:
            grad = torch.ops.aten.threshold_backward(grad, outputs[0], 0)
        return _product(grad, weight.t()), _product(grad.t(), x.t()), grad.sum(0), None
