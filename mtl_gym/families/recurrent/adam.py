"""Adam for stacked parameters: a slice that took no part in a batch stays as it is, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class StackedAdam(torch.optim.Optimizer):
    """Adam that steps each slice along a parameter's first axis by itself.

    A slice is a sub-network or a task. One whose gradient is zero throughout keeps its parameters and its moments, and
    its count of steps; plain Adam would move it by its momentum. Where every slice has a gradient it is plain Adam.

    Args:
        parameters: As for any optimiser of torch.
        lr: Learning rate.
        betas: Decay of the two moments.
        eps: Added to the denominator.

    Source: Kingma and Ba 2014.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2, 3))
        >>> optimizer = StackedAdam([weight], lr=0.1)
        >>> weight.grad = torch.tensor([[1.0, 1, 1], [0, 0, 0]])
        >>> optimizer.step(); weight.data
        tensor([[-0.1000, -0.1000, -0.1000],
                [ 0.0000,  0.0000,  0.0000]])
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step on the gradients that are there; closures are not supported."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)

    def _step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter] or self._begin(parameter)
        beta1, beta2 = group["betas"]
        taking_part = _slices(gradient, gradient != 0)
        state["step"] += taking_part
        count = _broadcast(state["step"].clamp(min=1), parameter)
        on = _broadcast(taking_part, parameter)
        state["mean"].lerp_(gradient, (1 - beta1) * on)
        state["square"].lerp_(gradient.square(), (1 - beta2) * on)
        size = (state["square"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
        parameter.sub_(on * group["lr"] / (1 - beta1**count) * state["mean"] / size)

    def _begin(self, parameter: Tensor) -> dict[str, Tensor]:
        slices = len(parameter) if parameter.ndim else 1
        steps = torch.zeros(slices, dtype=parameter.dtype, device=parameter.device)
        state = {"step": steps, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
        self.state[parameter] = state
        return state


def _slices(like: Tensor, flags: Tensor) -> Tensor:
    """Which slices have any flag, as numbers; [slices]."""
    return flags.reshape(len(like) if like.ndim else 1, -1).any(1).to(like.dtype)


def _broadcast(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1)) if like.ndim else values[0]
