"""Gradient steps of small networks, equal to the bit to torch's, with one call for all parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Settings with which `torch.optim.Adam` computes something else.
_OTHERWISE = ("weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused")


def clipped(gradients: Sequence[Tensor], most: float) -> Sequence[Tensor]:
    """Return gradients scaled to a joint norm of at most `most`, as by `torch.nn.utils.clip_grad_norm_`.

    Example:
        >>> clipped([torch.tensor([3.0]), torch.tensor([4.0])], 1.0)
        (tensor([0.6000]), tensor([0.8000]))
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    scaled: Sequence[Tensor] = torch._foreach_mul(gradients, torch.clamp(most / (norm + 1e-6), max=1.0))
    return scaled


@torch.no_grad()
def step_by(optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor]) -> None:
    """Take a step of an optimizer by gradients of its parameters.

    Plain `torch.optim.Adam` on the host takes one call per operation, in place of one per operation and parameter.

    Args:
        optimizer: Optimizer with one group of parameters.
        gradients: Gradient of each parameter.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> step_by(torch.optim.Adam([weight], lr=0.1), [torch.ones(2)]); weight.data
        tensor([-0.1000, -0.1000])
    """
    (group,) = optimizer.param_groups
    parameters: list[Tensor] = group["params"]
    if _is_plain(optimizer) and all(p in optimizer.state for p in parameters):
        _adam_(parameters, gradients, [optimizer.state[p] for p in parameters], group)
        return
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient
    optimizer.step()
    optimizer.zero_grad()


def _is_plain(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer is `torch.optim.Adam` with default settings, for parameters on the host."""
    (group,) = optimizer.param_groups
    on_host = all(p.device.type == "cpu" for p in group["params"])
    return type(optimizer) is torch.optim.Adam and on_host and not any(group[name] for name in _OTHERWISE)


def _adam_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[dict[str, Tensor]],
    group: dict[str, Any],
) -> None:
    """Take a step of Adam; the operations are those of torch, in its order."""
    steps, means, squares = ([state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq"))
    beta1, beta2 = group["betas"]
    torch._foreach_add_(steps, 1)
    count = steps[0].item()
    torch._foreach_lerp_(means, gradients, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
    roots = torch._foreach_sqrt(squares)
    torch._foreach_div_(roots, (1 - beta2**count) ** 0.5)
    torch._foreach_add_(roots, group["eps"])
    torch._foreach_addcdiv_(parameters, means, roots, value=-(group["lr"] / (1 - beta1**count)))
