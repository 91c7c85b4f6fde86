"""Seeded initial weights for copies of a template module."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import nn

# Held while torch's CPU generator is another's.
_ONE_THREAD = RLock()
AnyModule = TypeVar("AnyModule", bound=nn.Module)


@runtime_checkable
class Resettable(Protocol):
    """Module that can draw new weights."""

    def reset_parameters(self) -> None:
        """Draw new weights from torch's CPU generator."""
        ...


def renewed(template: AnyModule) -> AnyModule:
    """Return a copy of a module with new weights from torch's CPU generator.

    Submodules with a `reset_parameters` method (all of torch's) are reinitialised; other parameters keep their values.
    """
    twin = copy.deepcopy(template)
    renew(twin)
    return twin


def renew(module: nn.Module) -> None:
    """Give a module new weights in place, as `renewed` gives its copy."""
    for part in module.modules():
        if isinstance(part, Resettable):
            part.reset_parameters()


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """Seed torch's CPU generator within the context, and restore it afterwards.

    The generator is the same for all threads, of which one at a time may be within.

    Args:
        seed: The seed; None draws on from where the generator is.
    """
    with _ONE_THREAD, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        yield
