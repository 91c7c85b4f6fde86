"""Adam for stacked parameters, of which a slice without part in a step stays as it is, to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim.optimizer import ParamsT

from mtl_gym.core.nn.fused_adam import Group, fused_adam_, parts_of, refuse_settings

HOST = torch.device("cpu")
# Settings of `torch.optim.Adam` that its users may look for.
MISSING = ("weight_decay", "amsgrad", "maximize")
Place: TypeAlias = slice | Tensor  # of slices: one after the other, or int64 [slices]


class _Constants(NamedTuple):
    """Settings of a group as tensors, which are faster in an operation than numbers."""

    lr: Tensor
    betas: Tensor  # [2, 1]
    eps: Tensor
    one: Tensor


@lru_cache(maxsize=32)
def _constants(lr: float, betas: tuple[float, float], eps: float, device: torch.device) -> _Constants:
    numbers = [torch.tensor(number, device=device) for number in (float(lr), betas, eps, 1.0)]
    return _Constants(numbers[0], numbers[1][:, None], numbers[2], numbers[3])


def consecutive(numbers: NDArray[np.int64]) -> slice | None:
    """Return the range that lists the same numbers, in which a tensor needs no copies; None if there is none.

    Example:
        >>> consecutive(np.array([4, 5, 6])), consecutive(np.array([4, 6]))
        (slice(4, 7, None), None)
    """
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first != len(numbers) - 1 or (len(numbers) > 1 and (np.diff(numbers) != 1).any()):
        return None
    return slice(first, last + 1)


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

    Raises:
        ValueError: In a step, if a group was given weight decay, or another setting of `torch.optim.Adam` beside these.

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
            refuse_settings("MaskedAdam", group, MISSING)
            params = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in params if p.grad is not None]
            if group["axes"]:
                self._step_slices(params, gradients, group)
            elif params:
                self._fused(params, gradients, group)
        return loss

    def _fused(self, params: list[Tensor], gradients: list[Tensor], group: Group) -> None:
        states = [self._state(p, 0) for p in params]
        torch._foreach_add_([state["step"] for state in states], 1)
        fused_adam_(group, params, gradients, *zip(*map(parts_of, states), strict=True))

    def _step_slices(self, params: list[Tensor], gradients: list[Tensor], group: Group) -> None:
        if not params:
            return
        states, axes = [self._state(p, group["axes"]) for p in params], group["axes"]
        masks = [
            self._masks[p] if p in self._masks else _touched(gradient, axes)
            for p, gradient in zip(params, gradients, strict=True)
        ]
        old = [(state["exp_avg"], state["exp_avg_sq"], p) for p, state in zip(params, states, strict=True)]
        kept = [mask.device != HOST or not mask.all() for mask in masks]  # to look elsewhere would take time
        new = [[part.clone() for part in parts] if some else parts for parts, some in zip(old, kept, strict=True)]
        for state, mask in zip(states, masks, strict=True):
            state["step"] += mask
        _step_([state["step"] for state in states], new, gradients, group)
        parts = zip(params, states, masks, old, new, strict=True)
        for p, state, mask, before, after in itertools.compress(parts, kept):
            chosen = mask.view(*mask.shape, *[1] * (p.ndim - mask.ndim))
            state["exp_avg"], state["exp_avg_sq"], value = map(torch.where, [chosen] * 3, after, before)
            p.copy_(value)

    @torch.no_grad()
    def step_by(self, gradients: Sequence[Sequence[Tensor | None]], place: Place) -> None:
        """Step parameters by gradients that are given here, and of groups with `axes` only some slices.

        The cost does not grow with the number of the other slices.

        Args:
            gradients: For each group the gradient of each parameter, None for one that stays; whole and contiguous in a
                group without `axes`, otherwise those of the slices, [slices, ...].
            place: Places of distinct slices, counted over all leading axes.

        Example:
            >>> weight = torch.zeros(3, 2, requires_grad=True)
            >>> optimizer = MaskedAdam([weight], lr=0.1)
            >>> optimizer.step_by([[torch.ones(1, 2)]], slice(2, 3)); weight.data
            tensor([[ 0.0000,  0.0000],
                    [ 0.0000,  0.0000],
                    [-0.1000, -0.1000]])
        """
        for group, given in zip(self.param_groups, gradients, strict=True):
            refuse_settings("MaskedAdam", group, MISSING)
            params = [p for p, gradient in zip(group["params"], given, strict=True) if gradient is not None]
            found = [gradient for gradient in given if gradient is not None]
            if params and group["axes"]:
                self._step_places(params, found, place, group)
            elif params:
                self._fused(params, found, group)

    def _step_places(self, params: list[Tensor], gradients: list[Tensor], place: Place, group: Group) -> None:
        states = [self._state(p, group["axes"]) for p in params]
        whole = [
            [part.flatten(0, group["axes"] - 1) for part in (state["step"], state["exp_avg"], state["exp_avg_sq"], p)]
            for p, state in zip(params, states, strict=True)
        ]
        own = [[part[place] for part in parts] for parts in whole]
        torch._foreach_add_([steps for steps, *_ in own], 1)
        _step_([steps for steps, *_ in own], [parts for _, *parts in own], gradients, group)
        if not isinstance(place, slice):  # a range gives parts that need not be written back
            for theirs, ours in zip(whole, own, strict=True):
                for part, value in zip(theirs, ours, strict=True):
                    part[place] = value

    def _state(self, p: Tensor, axes: int) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.zeros(p.shape[:axes], device=p.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state


def _step_(steps: list[Tensor], parts: Sequence[Sequence[Tensor]], gradients: list[Tensor], group: Group) -> None:
    """Make a step in place, the `steps`-th of each slice, with [mean, mean of squares, value] of each parameter."""
    beta1, beta2 = group["betas"]
    constants = _constants(group["lr"], (beta1, beta2), group["eps"], gradients[0].device)
    counts = [own.numel() for own in steps]
    # torch has another kernel for what is left over by 64, of which powers differ in the last bit.
    flat = functional.pad(torch.cat([own.flatten() for own in steps]), (0, -sum(counts) % 64), value=1)
    left = constants.one - torch.pow(constants.betas, flat)
    sizes, at = left[0].reciprocal().mul_(constants.lr), 0
    for own, count, (mean, square, value), gradient in zip(steps, counts, parts, gradients, strict=True):
        shape = (*own.shape, *[1] * (value.ndim - own.ndim))
        size, share = sizes[at : at + count].view(shape), left[1, at : at + count].view(shape)
        at += count
        mean.lerp_(gradient, 1 - beta1)
        square.lerp_(gradient * gradient, 1 - beta2)
        root = (square / share).sqrt_().add_(constants.eps)
        value.addcdiv_(size * mean, root, value=-1)


def _touched(gradient: Tensor, axes: int) -> Tensor:
    """Slices whose gradient is not zero throughout; bool [*leading axes]."""
    return (gradient != 0).reshape(*gradient.shape[:axes], -1).any(-1)
