"""Seeded initial weights for copies of a template module."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import nn

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
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator within the context, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
