"""Adam for stacked parameters, of which a slice without part in a step stays as it is, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.optimizer import ParamsT

Group = dict[str, Any]  # as torch types its parameter groups


class MaskedAdam(torch.optim.Optimizer):
    """Adam that steps each slice of a stacked parameter by itself.

    A slice stands at one place of a parameter's leading axes: it belongs to one run, task or sub-network. Slices
    outside the mask, or by default those whose gradient is zero throughout, keep their values, moments and step counts;
    plain Adam would move them by their momentum. Where every slice takes part, the result is that of plain Adam.

    Args:
        params: Parameters or parameter groups, as for `torch.optim.Adam`.
        lr: Learning rate.
        betas: Decay of the two moments.
        eps: Added to the denominator.
        axes: Leading axes of slices, each with a step count of its own; a group may have its own `axes`. With 0, a
            parameter has one step count, fused kernels run, and only an explicit mask keeps slices.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> weight = torch.zeros(2, 3, requires_grad=True)
        >>> optimizer = MaskedAdam([weight], lr=0.1)
        >>> weight.grad = torch.tensor([[1.0, 1, 1], [0, 0, 0]])
        >>> optimizer.step(); weight.data
        tensor([[-0.1000, -0.1000, -0.1000],
                [ 0.0000,  0.0000,  0.0000]])
    """

    _masks: Mapping[Tensor, Tensor] = MappingProxyType({})

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        axes: int = 1,
    ) -> None:
        # torch moves the step counts of a fused optimizer to the device of its parameters when it loads a state.
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "axes": axes, "fused": True})

    @contextmanager
    def masked(self, masks: Mapping[Tensor, Tensor]) -> Iterator[None]:
        """Let only some slices take part in the steps of a `with` block.

        Where a parameter has one step count, the other slices move within the block and are restored at its end.

        Args:
            masks: The slices that take part, by parameter; bool, over its `axes` leading axes, or over any with 0.
        """
        counted_once = [p for group in self.param_groups if not group["axes"] for p in group["params"] if p in masks]
        kept = [(p, *self._kept(p, masks[p])) for p in counted_once]
        self._masks = masks
        try:
            yield
        finally:
            self._masks = MappingProxyType({})
            for p, where, values in kept:
                for part, value in zip(self._parts(p), values, strict=True):
                    part[where] = value

    def _kept(self, p: Tensor, mask: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        where = (~mask).nonzero(as_tuple=True)
        return where, [part[where] for part in self._parts(p)]

    def _parts(self, p: Tensor) -> list[Tensor]:
        state = self._state(p, 0)
        return [p.data, state["exp_avg"], state["exp_avg_sq"]]

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if group["axes"]:
                for p in params:
                    self._step_slices(p, group)
            elif params:
                self._step_whole(params, group)
        return loss

    def _step_whole(self, params: list[Tensor], group: Group) -> None:
        states, (beta1, beta2) = [self._state(p, 0) for p in params], group["betas"]
        adam(
            params,
            [p.grad for p in params if p.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            max_exp_avg_sqs=[],
            state_steps=[state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=0,
            eps=group["eps"],
            maximize=False,
        )

    def _step_slices(self, p: Tensor, group: Group) -> None:
        state, (beta1, beta2), gradient = self._state(p, group["axes"]), group["betas"], p.grad
        assert gradient is not None
        mask = self._masks[p] if p in self._masks else _touched(gradient, group["axes"])
        state["step"] += mask
        chosen = mask.view(*mask.shape, *[1] * (p.ndim - mask.ndim))
        mean = torch.where(chosen, state["exp_avg"].lerp(gradient, 1 - beta1), state["exp_avg"])
        square = torch.where(chosen, state["exp_avg_sq"].lerp(gradient * gradient, 1 - beta2), state["exp_avg_sq"])
        state["exp_avg"], state["exp_avg_sq"] = mean, square
        steps = state["step"].clamp(min=1).view_as(chosen)
        size = group["lr"] / (1 - beta1**steps)
        denominator = (square / (1 - beta2**steps)).sqrt() + group["eps"]
        p.copy_(torch.where(chosen, p - size * mean / denominator, p))

    def _state(self, p: Tensor, axes: int) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.zeros(p.shape[:axes], device=p.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state


def _touched(gradient: Tensor, axes: int) -> Tensor:
    """Slices whose gradient is not zero throughout; bool [*leading axes]."""
    return (gradient != 0).reshape(*gradient.shape[:axes], -1).any(-1)
