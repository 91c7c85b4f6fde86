"""Adam for stacked parameters, of which a slice without part in a step stays as it is, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


class FusedAdam(torch.optim.Adam):
    """`torch.optim.Adam(fused=True)`, equal to the bit, without its overhead for every small parameter.

    Parameters without a gradient keep their values, moments and step counts, as in `torch.optim.Adam`.

    Args:
        params: Parameters or parameter groups, of one dtype and device.
        lr: Learning rate.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.ones(2)
        >>> FusedAdam([weight], lr=0.1).step(); weight.data
        tensor([-0.1000, -0.1000])
    """

    def __init__(self, params: ParamsT, lr: float = 1e-3) -> None:
        super().__init__(params, lr, fused=True)
        self._steps: dict[int, Tensor] = {}

    def of(self, module: torch.nn.Module) -> FusedAdam:
        """Return an optimizer of the parameters of `module` alone, with the moments and step counts that they have."""
        group = {name: value for name, value in self.param_groups[0].items() if name != "params"}
        twin = FusedAdam([{"params": list(module.parameters()), **group}], group["lr"])
        twin.state.update({p: self.state[p] for p in module.parameters() if p in self.state})
        return twin

    def take(self, parts: Sequence[FusedAdam]) -> None:
        """Take over the moments and step counts of optimizers whose parameters are among these."""
        self._steps = {}
        for part in parts:
            self.state.update({p: dict(state) for p, state in part.state.items()})
        self.param_groups[0]["lr"] = parts[0].param_groups[0]["lr"]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for number, group in enumerate(self.param_groups):
            chosen = [place for place, p in enumerate(group["params"]) if p.grad is not None]
            if chosen:
                self._step_chosen(number, group, chosen)

    def _step_chosen(self, number: int, group: Group, chosen: list[int]) -> None:
        params = [group["params"][place] for place in chosen]
        if number not in self._steps:
            self._steps[number] = self._one_tensor(group["params"])
        steps = self._steps[number]
        states = [self._state_of(p, steps, place) for p, place in zip(params, chosen, strict=True)]
        steps[torch.tensor(chosen, device=steps.device)] += 1
        torch._fused_adam_(
            params,
            [p.grad for p in params],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _one_tensor(self, params: list[Tensor]) -> Tensor:
        """Return the step counts of all parameters as one tensor, of which those in their states become views."""
        steps = torch.zeros(len(params), device=params[0].device)
        for place, p in enumerate(params):
            if self.state.get(p):
                steps[place] = self.state[p]["step"]
                self.state[p]["step"] = steps[place]
        return steps

    def _state_of(self, p: Tensor, steps: Tensor, place: int) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state |= {"step": steps[place], "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        return state

    def __setstate__(self, state: Group) -> None:
        """Restore a loaded or copied state, in which every step count is a tensor of its own."""
        super().__setstate__(state)
        self._steps = {}
