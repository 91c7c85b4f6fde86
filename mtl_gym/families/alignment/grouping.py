"""Grouping of architectures that compute the same function of inputs and trained parameters, to run them stacked."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl_gym.core.validation import class_advice, short

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, set, frozenset)


def alike(architectures: Sequence[nn.Module], apart: Sequence[object]) -> list[list[int]]:
    """Group the numbers of architectures that differ only in trained parameters and have equal values in `apart`.

    Raises:
        ValueError: If an architecture is not a module, or has running statistics or uninitialised lazy parameters.
    """
    groups: list[list[int]] = []
    for number, architecture in enumerate(architectures):
        if not isinstance(architecture, nn.Module):
            raise ValueError(
                f"Architecture {number} is {short(architecture)}, not a module.{class_advice(architecture)}"
            )
        _check(architecture)
        fitting = (g for g in groups if apart[g[0]] == apart[number] and same(architectures[g[0]], architecture))
        group = next(fitting, None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    return groups


def _check(architecture: nn.Module) -> None:
    name = type(architecture).__name__
    for part in architecture.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.running_mean is not None:
            raise ValueError(
                f"{name} has a {type(part).__name__}, but layers with running statistics cannot be reparameterised: "
                "use GroupNorm or LayerNorm instead of BatchNorm."
            )
        if any(nn.parameter.is_lazy(p) for p in part.parameters(recurse=False)):
            raise ValueError(
                f"{name} has an uninitialised {type(part).__name__}: call the architecture on a batch first."
            )


def same(a: Any, b: Any) -> bool:
    """Return whether two parts of architectures are equal, except for the values of trained parameters.

    Objects that cannot be compared, such as two different function objects, count as different.

    Example:
        >>> same(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
        True
        >>> same(nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))
        False
    """
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, nn.Module):
        return _names(a) == _names(b) and same(vars(a), vars(b))
    if isinstance(a, nn.Parameter) and a.requires_grad and b.requires_grad:
        return a.shape == b.shape and a.dtype == b.dtype
    return _equal(a, b)


def _names(module: nn.Module) -> list[str]:
    """Return the names of all parameters, of shared ones the first only, so that they show which ones are shared."""
    return [name for name, _ in module.named_parameters()]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.requires_grad == b.requires_grad and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and not isinstance(a, PLAIN):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, weakref.ref):
        return same(a(), b())
    return isinstance(a, PLAIN) and bool(a == b)
