"""Evaluation mode for the length of a block."""

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
