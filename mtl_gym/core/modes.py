"""Modes of torch: environments and agents train alike, whatever mode their caller is in.

Collectors of experience step inside `torch.no_grad()` or `torch.inference_mode()`, some inside autocast, and some
programs set another default dtype. An environment that adopted such a mode could not train its network, or would train
another one.

torch has one default dtype for all threads. If the program set another one, its other threads see float32 while an
environment or agent is at work, and must name the dtype of tensors that they make meanwhile.

Forked processes, such as those of Gymnasium's `AsyncVectorEnv`, compute with one thread, as the workers of torch's
`DataLoader` do: after a parallel computation of their parent they would wait forever for its threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
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
    """Return a method that runs with gradients in float32, and makes no inference tensors.

    Example:
        >>> make = in_own_mode(lambda: torch.ones(1, requires_grad=True) * 2)
        >>> with torch.inference_mode():
        ...     made = make()
        >>> made.requires_grad, made.is_inference()
        (True, False)
    """

    @wraps(method)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        usual = torch.get_default_dtype() is torch.float32 and not _FLOAT32.users and not _autocast()
        if usual and torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            return method(*args, **kwargs)
        full = [torch.autocast(device, enabled=False) for device in DEVICES]
        with torch.inference_mode(False), torch.enable_grad(), full[0], full[1], _FLOAT32:
            return method(*args, **kwargs)

    return inside


class _Float32:
    """The default dtype float32, until the last thread leaves its `with` block.

    Attributes:
        users: Number of blocks under way.
    """

    def __init__(self) -> None:
        self.users = 0
        self._default = torch.float32
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if not self.users:
                self._default = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self.users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.users -= 1
            if not self.users:
                torch.set_default_dtype(self._default)


_FLOAT32 = _Float32()


def _autocast() -> bool:
    return any(torch.is_autocast_enabled(device) for device in DEVICES)


def enter_in_own_mode(kind: type, entrances: Sequence[str] = ENTRANCES) -> None:
    """Let the entrances that a class defines run in their own mode."""
    for name in entrances:
        if name in vars(kind):
            setattr(kind, name, in_own_mode(vars(kind)[name]))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
