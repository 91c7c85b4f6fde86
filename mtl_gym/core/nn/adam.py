"""Adam for stacked parameters, of which a slice without part in a step stays as it is, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.optimizer import ParamsT

from mtl_gym.core.nn.stacks import BlockStack, Leaf

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

    Parameters without a gradient keep their values, moments and step counts, as in `torch.optim.Adam`. Those of fused
    stacks have their gradients there.

    Args:
        params: Parameters, of one dtype and device.
        lr: Learning rate.
        stacks: Fused stacks whose parameters are among them.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.ones(2)
        >>> FusedAdam([weight], lr=0.1).step(); weight.data
        tensor([-0.1000, -0.1000])
    """

    def __init__(self, params: Sequence[Tensor], lr: float, stacks: Sequence[BlockStack] = ()) -> None:
        super().__init__([{"params": list(params)}], lr, fused=True)  # Adam rejects an empty list of parameters
        self._stacks = stacks
        self._moments = [StackedMoments(leaf) for stack in stacks for leaf in stack.leaves]
        inside = {p for moments in self._moments for p in moments.leaf.members}
        self._others = [p for p in params if p not in inside]

    def of(self, module: nn.Module) -> FusedAdam:
        """Return an optimizer of the parameters of `module` alone, with the moments and step counts that they have."""
        twin = FusedAdam(list(module.parameters()), self.param_groups[0]["lr"])
        twin.state.update({p: self.state[p] for p in module.parameters() if p in self.state})
        return twin

    def take(self, parts: Sequence[FusedAdam]) -> None:
        """Take over the moments and step counts of optimizers whose parameters are among these."""
        for part in parts:
            self.state.update({p: dict(state) for p, state in part.state.items()})
        self.param_groups[0]["lr"] = parts[0].param_groups[0]["lr"]
        self._gather()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        others = [p for p in self._others if p.grad is not None]
        states = [self._state_of(p) for p in others]
        if others:
            torch._foreach_add_([state["step"] for state in states], 1)
            self._move(others, [p.grad for p in others], *zip(*map(_values, states), strict=True))
        moments = iter(self._moments)
        for stack in self._stacks:
            trained = stack.trained
            for one in [next(moments) for _ in stack.leaves]:
                if len(trained):
                    self._move(*one.begin(trained, self.state))

    def _move(
        self,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor | None],
        steps: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
    ) -> None:
        group = self.param_groups[0]
        torch._fused_adam_(
            list(params),
            list(gradients),
            list(means),
            list(squares),
            [],
            list(steps),
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for p in self._others:
            p.grad = None
        for stack in self._stacks:
            stack.clear()

    def _state_of(self, p: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.zeros((), device=p.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state

    def _gather(self) -> None:
        for moments in self._moments:
            moments.gather(self.state)

    def __setstate__(self, state: Group) -> None:
        """Restore a loaded state, or become a copy, whose parameters are in no stack."""
        super().__setstate__(state)
        if "_stacks" not in vars(self):
            self._stacks, self._moments = (), []
            self._others = [p for group in self.param_groups for p in group["params"]]
        self._gather()


class StackedMoments:
    """Moments and step counts of the parameters of a leaf, whose states are views of them.

    Args:
        leaf: The parameters.
    """

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self._count = torch.zeros(len(leaf.members), device=leaf.values.device)
        self._mean, self._square = torch.zeros_like(leaf.values), torch.zeros_like(leaf.values)
        self._known = np.zeros(len(leaf.members), bool)
        self._views = list(zip(*(one.unbind() for one in (self._count, self._mean, self._square)), strict=True))
        self._values, self._gradients = leaf.values.unbind(), leaf.gradient.unbind()

    def begin(self, trained: NDArray[np.int64], states: Mapping[Tensor, dict[str, Tensor]]) -> list[list[Tensor]]:
        """Count a step of some members; int64 [n]. Return values, gradients, step counts and moments, n of each."""
        for place in trained[~self._known[trained]]:
            states[self.leaf.members[place]].update(zip(STATE, self._views[place], strict=True))
        self._known[trained] = True
        self._count[torch.from_numpy(trained).to(self._count.device)] += 1
        places = trained.tolist()
        views = [self._views[place] for place in places]
        moments = [list(part) for part in zip(*views, strict=True)]
        return [[self._values[place] for place in places], [self._gradients[place] for place in places], *moments]

    def gather(self, states: Mapping[Tensor, dict[str, Tensor]]) -> None:
        """Move the states of the members, which were loaded one by one, to the views."""
        for place, p in enumerate(self.leaf.members):
            self._known[place] = bool(states.get(p))
            for view, name in zip(self._views[place], STATE, strict=True):
                view.copy_(states[p][name]) if self._known[place] else view.zero_()
            if self._known[place]:
                states[p].update(zip(STATE, self._views[place], strict=True))


STATE = ("step", "exp_avg", "exp_avg_sq")


def _values(state: Mapping[str, Tensor]) -> list[Tensor]:
    return [state[name] for name in STATE]
