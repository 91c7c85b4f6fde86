"""Fresh weights for a module that stands as a template, from a seed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def renewed(template: AnyModule) -> AnyModule:
    """A copy with fresh weights from torch's CPU generator.

    Modules with a `reset_parameters` method (all of torch's) are drawn anew; other parameters keep their values.
    """
    twin = copy.deepcopy(template)
    for module in twin.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return twin


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator meanwhile, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
