"""Keyword arguments of environments: those that all share, and what can be done with any."""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch

from mtl_gym.core.ranges import POSITIVE, Range, out_of_range
from mtl_gym.core.rows import Arguments, State
from mtl_gym.core.validation import bare, complaint, hints_of, short, unknown
from mtl_gym.data import MultiTaskDataset, TaskCollection
from mtl_gym.data.resolution import Kind, resolve
from mtl_gym.data.split import SPLITS

PLAIN = (bool, int, float, str)
# Options in which a checkpoint and the environment that loads it may differ.
FREE = ("device", "tensors", "render_mode", "data", "data_root")


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """Keyword arguments that all environments share.

    Attributes:
        data: Name of a data set, or the data set itself.
        data_root: Folder of its files; None for the environment variable MTL_GYM_DATA or the user's cache folder.
        data_kwargs: Arguments of a data set loaded by name, as `mtl_gym.data.load` takes them, such as
            {"relatedness": 0.5} or {"features": "lsa"}.
        network: A module as a template, whose weights are drawn anew from every seed, or a function of one
            `NetworkContext` (data, options, device) that makes one. None for the family's own network.
        learning_rate: Learning rate of Adam.
        split: The part of the data that episodes are drawn from: "train", "validation" or "test".
        train: Whether acting trains the network. False freezes it.
        device: Where the network lives: "auto" (CUDA if there), "cpu", "cuda", "cuda:1", ...
        tensors: Hand back torch tensors on `device` instead of NumPy arrays (batched environments only).
        render_mode: None, "rgb_array", "human" or "ansi".
    """

    # Ranges of numbers by option, besides those of the base classes; other options take `WHOLE` or `NUMBERS`.
    RANGES: ClassVar[Mapping[str, Range]] = {"learning_rate": POSITIVE}

    data: str | MultiTaskDataset | TaskCollection = "digits"
    data_root: str | Path | None = None
    data_kwargs: Mapping[str, object] | None = None
    network: object = None
    learning_rate: float = 1e-3
    split: str = "train"
    train: bool = True
    device: str | torch.device = "auto"
    tensors: bool = False
    render_mode: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work; families add to it."""
        self._require("split", isinstance(self.split, str) and self.split in SPLITS, f"one of {SPLITS}")
        hints, ranges = hints_of(type(self)), ChainMap(*(vars(kind).get("RANGES", {}) for kind in type(self).__mro__))
        for name, value in shallow_dict(self).items():
            wrong = out_of_range(name, value, hints.get(name, object), ranges.get(name))
            if wrong is not None:
                raise ValueError(wrong)

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{name}={short(shallow_dict(self)[name])} is not possible; it takes {allowed}.")


@dataclass(frozen=True)
class NetworkContext:
    """Argument of functions that make networks.

    Attributes:
        data: The data set, on the device.
        options: All options of the environment.
        device: Device of the network.
    """

    data: MultiTaskDataset | TaskCollection
    options: EnvOptions
    device: torch.device


Chosen = TypeVar("Chosen", bound=EnvOptions)


def data_of(options: EnvOptions, kind: type[Kind]) -> Kind:
    """Return the data set that options name or hold.

    Raises:
        ValueError: If it is not of this kind, or arguments are given for an object; see `load` for names.

    Example:
        >>> data_of(EnvOptions(data="digits"), MultiTaskDataset).num_tasks
        10
    """
    return resolve(options.data, kind, options.data_root, options.data_kwargs)


def make_options(kind: type[Chosen], environment: str, given: Mapping[str, object]) -> Chosen:
    """Return options from keyword arguments.

    Args:
        kind: Class of the options.
        environment: Name of the environment in messages.
        given: The keyword arguments.

    Raises:
        ValueError: If an option is unknown, or a value is not allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            raise ValueError(unknown(environment, "option", name, fields))
    hints, plain = hints_of(kind), {name: bare(value) for name, value in given.items()}
    for name, value in plain.items():
        wrong = None if value is fields[name].default else complaint(name, value, hints.get(name, object))
        if wrong is not None:
            raise ValueError(f"{environment}: {wrong}")
    return kind(**plain)


def refuse_reset_options(options: object) -> None:
    """Refuse options of `reset`, of which there are none.

    Raises:
        ValueError: If they are neither None nor empty.
    """
    if options is not None and not (isinstance(options, Mapping) and not options):
        raise ValueError(
            f"reset(options={short(options)}) is not possible; reset takes a seed alone: give options to gym.make or "
            "gym.make_vec."
        )


def shallow_dict(options: EnvOptions) -> Arguments:
    """Return options as keyword arguments, without copies of their values."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def must_agree(options: EnvOptions) -> State:
    """Return the options that must be equal in a checkpoint: plain values and lists of them."""
    fields = {name: value for name, value in shallow_dict(options).items() if name not in FREE}
    return {name: _written(value) for name, value in fields.items() if _is_written(value)}


def differences(theirs: object, ours: Mapping[str, object]) -> set[str] | None:
    """Return the names of differing values of two signatures; None if they have different names."""
    if not isinstance(theirs, Mapping) or theirs.keys() != ours.keys():
        return None
    return {name for name, value in ours.items() if theirs[name] != value}


def _is_written(value: object) -> bool:
    """Return whether a value is plain or contains only plain values; None is not, since any object may replace it."""
    if isinstance(value, Mapping):
        return all(map(_is_written, value.values()))
    if isinstance(value, (list, tuple, np.ndarray)):
        return all(map(_is_written, value))
    return isinstance(value, (*PLAIN, np.generic))


def _written(value: object) -> object:
    """Convert containers to lists and dictionaries, so that a tuple equals a list."""
    if isinstance(value, Mapping):
        return {str(key): _written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_written(item) for item in value]
    return bare(value)


def choose_device(name: str | torch.device) -> torch.device:
    """Return the torch device of a name; "auto" is CUDA if there is a GPU.

    Raises:
        ValueError: If torch knows no such device, or sees no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f'device={name!r} is unknown; use "auto", "cpu" or "cuda".') from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device={name!r} is not there: torch sees no GPU; use device="cpu" or "auto".')
    return device
