"""Modes of torch: environments train alike, whatever mode their caller is in.

Collectors of experience step inside `torch.no_grad()` or `torch.inference_mode()`, some inside autocast. An environment
that adopted such a mode could not train its network, or would train another one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")
DEVICES = ("cpu", "cuda")
# Methods of environments that callers use and that make, keep or train tensors.
ENTRANCES = (
    *("__init__", "reset", "current", "advance", "step"),
    *("state_dict", "load_state_dict", "fork", "evaluation_view"),
)


def in_own_mode(method: Callable[P, T]) -> Callable[P, T]:
    """Return a method that runs with gradients and full precision, and makes no inference tensors.

    Example:
        >>> make = in_own_mode(lambda: torch.ones(1, requires_grad=True) * 2)
        >>> with torch.inference_mode():
        ...     made = make()
        >>> made.requires_grad, made.is_inference()
        (True, False)
    """

    @wraps(method)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and not _autocast():
            return method(*args, **kwargs)
        full = [torch.autocast(device, enabled=False) for device in DEVICES]
        with torch.inference_mode(False), torch.enable_grad(), full[0], full[1]:
            return method(*args, **kwargs)

    return inside


def _autocast() -> bool:
    return any(torch.is_autocast_enabled(device) for device in DEVICES)


def enter_in_own_mode(kind: type) -> None:
    """Let the entrances that a class defines run in their own mode."""
    for name in ENTRANCES:
        if name in vars(kind):
            setattr(kind, name, in_own_mode(vars(kind)[name]))
