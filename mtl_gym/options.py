"""Keyword arguments of environments: those that all share, and what can be done with any."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

PLAIN = (bool, int, float, str)
# Options in which a checkpoint and the environment that loads it may differ.
FREE = ("device", "tensors", "render_mode", "data", "data_root")


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """Keyword arguments that all environments share.

    Attributes:
        split: The part of the data that episodes are drawn from: "train", "validation" or "test".
        train: Whether acting trains the network. False freezes it.
        device: Where the network lives: "auto" (CUDA if there), "cpu", "cuda", "cuda:1", ...
        tensors: Hand back torch tensors on `device` instead of NumPy arrays (batched environments only).
        render_mode: None, "rgb_array", "human" or "ansi".
    """

    split: str = "train"
    train: bool = True
    device: str = "auto"
    tensors: bool = False
    render_mode: str | None = None


Chosen = TypeVar("Chosen", bound=EnvOptions)


def make_options(kind: type[Chosen], environment: str, given: dict[str, Any]) -> Chosen:
    """Options of a kind from keyword arguments.

    Raises:
        ValueError: If an option is unknown, or a value is not allowed. `environment` is whose it is, for the message.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{environment} has no option {name!r}.{hint} It takes {', '.join(known)}.")
    return kind(**given)


def shallow_dict(options: EnvOptions) -> dict[str, Any]:
    """The fields of `options` as keyword arguments, without copying what they hold."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def must_agree(options: EnvOptions) -> dict[str, Any]:
    """The options in which a checkpoint and the environment that loads it must agree: plain values."""
    fields = shallow_dict(options).items()
    return {name: value for name, value in fields if name not in FREE and isinstance(value, PLAIN)}


def choose_device(name: str) -> torch.device:
    """The torch device for `name`, where "auto" is CUDA if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f'device={name!r} is unknown; use "auto", "cpu" or "cuda".') from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device={name!r} is not there: torch sees no GPU; use device="cpu" or "auto".')
    return device
