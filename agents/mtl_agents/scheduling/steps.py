"""Gradient steps of small networks, equal to the bit to torch's, with one operation for all parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Settings with which `torch.optim.Adam` computes something else.
_OTHERWISE = ("weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused")
MOMENTS = ("exp_avg", "exp_avg_sq")
# Values that begin together on 64 bytes, as tensors do: products of matrices depend on it in the last bit.
ALIGNED = 16


class _Joined(NamedTuple):
    """All parameters as one tensor and their moments, float32 [values] each, and their step counts."""

    value: Tensor
    mean: Tensor
    square: Tensor
    counts: list[Tensor]


class Steps:
    """Steps of an optimizer by given gradients, clipped to a joint norm.

    Plain `torch.optim.Adam` on the host takes one operation for all parameters: they become views of one tensor, and so
    do their moments. Any other optimizer takes its own steps, as Adam does before it has moments.

    Args:
        optimizer: Optimizer with one group of parameters.
        most: Largest norm of all gradients together.

    Attributes:
        parameters: Parameters of the optimizer.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> Steps(torch.optim.Adam([weight], lr=0.1), most=1.0).take([torch.ones(2)])
        >>> weight.data
        tensor([-0.1000, -0.1000])
    """

    def __init__(self, optimizer: torch.optim.Optimizer, most: float) -> None:
        self._optimizer, self._most = optimizer, most
        (self._group,) = optimizer.param_groups
        self.parameters: list[Tensor] = self._group["params"]
        self._places: list[int] = []
        self._joined = self._join() if self._is_plain() else None

    @property
    def fits(self) -> bool:
        """Whether settings, parameters and moments are the ones that were joined; if not, make new steps."""
        if self._optimizer.param_groups[0] is not self._group:
            return False
        return self._places == self._found() if self._is_plain() else self._joined is None

    def _found(self) -> list[int]:
        """Return where parameters, step counts and moments are in memory."""
        states = [self._optimizer.state[p] for p in self.parameters]
        return [part.data_ptr() for part in (*self.parameters, *(part for state in states for part in state.values()))]

    def _is_plain(self) -> bool:
        """Return whether the optimizer is Adam with default settings and moments, for parameters on the host."""
        usual = type(self._optimizer) is torch.optim.Adam and not any(self._group[name] for name in _OTHERWISE)
        begun = all(p in self._optimizer.state for p in self.parameters)
        return usual and begun and {(p.device.type, p.dtype) for p in self.parameters} == {("cpu", torch.float32)}

    def _join(self) -> _Joined:
        states = [self._optimizer.state[p] for p in self.parameters]
        values = [p.data for p in self.parameters]
        value, mean, square = map(_joined, (values, *([state[name] for state in states] for name in MOMENTS)))
        for p, view in zip(self.parameters, _views(value, values), strict=True):
            p.data = view
        for name, moment in zip(MOMENTS, (mean, square), strict=True):
            for state, view in zip(states, _views(moment, values), strict=True):
                state[name] = view
        self._places = self._found()
        return _Joined(value, mean, square, [state["step"] for state in states])

    @torch.no_grad()
    def take(self, gradients: tuple[Tensor, ...] | list[Tensor]) -> None:
        """Take a step by the gradient of each parameter.

        The scale of gradients is that of `torch.nn.utils.clip_grad_norm_`.
        """
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        scale = torch.clamp(self._most / (norm + 1e-6), max=1.0)
        if self._joined is not None:
            self._adam(self._joined, _joined(gradients).mul_(scale))
            return
        for p, gradient in zip(self.parameters, gradients, strict=True):
            p.grad = gradient * scale
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _adam(self, own: _Joined, gradient: Tensor) -> None:
        """Take a step of Adam; the operations are those of torch, in its order."""
        beta1, beta2 = self._group["betas"]
        torch._foreach_add_(own.counts, 1)
        count = own.counts[0].item()
        own.mean.lerp_(gradient, 1 - beta1)
        own.square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = own.square.sqrt().div_((1 - beta2**count) ** 0.5).add_(self._group["eps"])
        own.value.addcdiv_(own.mean, root, value=-(self._group["lr"] / (1 - beta1**count)))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Return tensors one after the other, each followed by zeros up to a multiple of `ALIGNED`; [values]."""
    zeros = parts[0].new_zeros(ALIGNED)
    filled = ((part.flatten(), zeros[: -part.numel() % ALIGNED]) for part in parts)
    return torch.cat([*itertools.chain.from_iterable(filled)])


def _views(whole: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the views of a result of `_joined` that stand for the tensors."""
    rooms = whole.split([part.numel() + -part.numel() % ALIGNED for part in parts])
    return [room[: part.numel()].view_as(part) for room, part in zip(rooms, parts, strict=True)]
