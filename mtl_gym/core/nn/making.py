"""Networks that users give: as a template, or as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from mtl_gym.core.options import NetworkContext
from mtl_gym.core.validation import class_advice, short, takes

Network = TypeVar("Network")


def given_network(
    given: object, kind: type[Network], context: NetworkContext, default: Callable[[NetworkContext], Network]
) -> Network:
    """Return the network of the option `network`.

    Args:
        given: A module, a function of the context, or None for the default.
        kind: Class that the family needs.
        context: Argument of the functions.
        default: Makes the family's own network.

    Raises:
        ValueError: If the option is neither, or the function takes no context or makes something else.
    """
    if isinstance(given, kind):
        return given
    make = default if given is None else given
    if not callable(make) or isinstance(given, (nn.Module, type)):
        raise ValueError(f"network={short(given)} is not possible; {_allowed(kind)}.{class_advice(given)}")
    if given is not None and not takes(make, 1):
        raise ValueError(f"network={short(given)} takes no context; {_allowed(kind)}.")
    made = make(context)
    if not isinstance(made, kind):
        raise ValueError(f"network={short(given)} made a {type(made).__name__}; {_allowed(kind)}.")
    return made


def _allowed(kind: type) -> str:
    return f"give a {kind.__name__}, or a function of one context (data, options, device) that makes one"
