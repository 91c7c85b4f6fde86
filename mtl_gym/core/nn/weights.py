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


def trouble_with_one_row(module: nn.Module, in_shape: tuple[int, ...]) -> str | None:
    """Why a module cannot be trained on a batch of one, as batch norm of flat values cannot; None if it can.

    Args:
        module: It is left as it is.
        in_shape: Shape of one input, without the rows.
    """
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        return None
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    try:
        with seeded(0), torch.no_grad():
            copy.deepcopy(module).train()(torch.zeros(1, *in_shape, device=device))
    except ValueError as error:
        return str(error)
    return None
