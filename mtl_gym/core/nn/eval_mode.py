"""Evaluation mode for the length of a block, and modules that have only one mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, then restore the mode of each of its parts, also after an exception.

    Args:
        module: The module; parts may differ in mode, as a frozen batch norm does.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
        >>> with eval_mode(network):
        ...     network.training
        False
        >>> network.training, network[1].training
        (True, False)
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        module.train(modes[0][1])  # Also reaches parts that only `train` of their owner knows, as in StackedModule.
        for part, training in modes:
            part.training = training


# Modules of torch that do the same in training and evaluation.
_PLAIN = (nn.Identity, nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.ReLU, nn.Flatten)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList)


def same_in_both_modes(module: nn.Module, package: str) -> bool:
    """Return whether a module is known to do the same in training and in evaluation.

    Args:
        module: The module.
        package: Package whose modules, beside the plain ones of torch, have no mode.

    Example:
        >>> same_in_both_modes(nn.Sequential(nn.Linear(2, 2)), "mtl_gym"), same_in_both_modes(nn.Dropout(), "mtl_gym")
        (True, False)
    """
    known = (*_PLAIN, *_CONTAINERS)
    return all(type(part) in known or type(part).__module__.startswith(f"{package}.") for part in module.modules())
