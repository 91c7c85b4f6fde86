"""Models of states, and the comparison of a given state with its model before it is loaded.

A model is a state of the receiver's own, in which a `Wanted` stands for whatever need not be as it is there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from mtl_gym.core.errors import CheckpointError

# Where counts end: PyTorch and NumPy take no greater ones.
GREATEST = 2**63 - 1


class Wanted(ABC):
    """Model of one place in a state, where it may differ from the receiver's."""

    @abstractmethod
    def check(self, given: Any, place: str) -> None:
        """Refuse what does not belong there.

        Raises:
            CheckpointError: It names the place.
        """


@dataclass(frozen=True)
class Maybe(Wanted):
    """None, or what the model says."""

    model: Any

    def check(self, given: Any, place: str) -> None:
        """Refuse what is neither."""
        if given is not None:
            check(given, self.model, place)


@dataclass(frozen=True)
class Unneeded(Wanted):
    """Model of a part that older states lack; if present, it must fit."""

    model: Any

    def check(self, given: Any, place: str) -> None:
        """Refuse what is there and is something else."""
        check(given, self.model, place)


@dataclass(frozen=True)
class Many(Wanted):
    """A list of any length, all of whose items are as the model says."""

    model: Any

    def check(self, given: Any, place: str) -> None:
        """Refuse what is no list, or an item."""
        if not isinstance(given, (list, tuple)):
            raise wrong(given, place, "a list")
        for number, item in enumerate(given):
            check(item, self.model, f"{place}.{number}")


@dataclass(frozen=True)
class Whole(Wanted):
    """A whole number from 0 to the highest, which None leaves open."""

    highest: int | None = GREATEST

    def check(self, given: Any, place: str) -> None:
        """Refuse other numbers, and what is none."""
        fits = isinstance(given, (int, np.integer)) and not isinstance(given, bool) and given >= 0
        if not fits or (self.highest is not None and given > self.highest):
            bound = "or more" if self.highest is None else f"to {self.highest}"
            raise wrong(given, place, f"a whole number from 0 {bound}")


@dataclass(frozen=True)
class Numbers(Wanted):
    """A tensor of the same type and shape.

    Attributes:
        like: The receiver's.
        lowest: No value lies below.
        highest: None lies above.
        free: So many leading axes may have any length.
        finite: Whether all values are.
    """

    like: Tensor
    lowest: float | None = None
    highest: float | None = None
    free: int = 0
    finite: bool = False

    def check(self, given: Any, place: str) -> None:
        """Refuse what is no tensor, or another."""
        if not isinstance(given, Tensor):
            raise wrong(given, place, "a tensor")
        if given.dtype != self.like.dtype:
            raise CheckpointError(f"{place} is of {name_of(given.dtype)}, needs {name_of(self.like.dtype)}")
        if given.ndim != self.like.ndim or given.shape[self.free :] != self.like.shape[self.free :]:
            needed = ["any"] * self.free + list(self.like.shape[self.free :])
            raise CheckpointError(f"{place} has shape {list(given.shape)}, needs {needed}".replace("'", ""))
        self._check_range(given, place)

    def _check_range(self, given: Tensor, place: str) -> None:
        if given.numel() == 0:
            return
        if self.finite and not bool(given.isfinite().all()):
            raise CheckpointError(f"{place} holds numbers that are not finite")
        if self.lowest is not None and not bool((given >= self.lowest).all()):
            raise CheckpointError(f"{place} holds numbers below {self.lowest}")
        if self.highest is not None and not bool((given <= self.highest).all()):
            raise CheckpointError(f"{place} holds numbers above {self.highest}")


@dataclass(frozen=True)
class RandomState(Wanted):
    """The state of a generator of NumPy's."""

    generator: np.random.Generator

    def check(self, given: Any, place: str) -> None:
        """Refuse what a scratch generator does not take, or does not give back."""
        scratch = type(self.generator.bit_generator)()
        try:
            scratch.state = given
            taken = bool(scratch.state == given)
        except Exception as error:  # whatever NumPy makes of it
            raise wrong(given, place, "the state of a generator of NumPy's") from error
        if not taken:
            raise wrong(given, place, "the state of a generator of NumPy's")


@dataclass(frozen=True)
class TorchRandomState(Wanted):
    """The state of a generator of torch's."""

    generator: torch.Generator

    def check(self, given: Any, place: str) -> None:
        """Refuse what a scratch generator does not take."""
        if not isinstance(given, Tensor):
            raise wrong(given, place, "a tensor")
        try:
            torch.Generator(self.generator.device).set_state(given.cpu())
        except Exception as error:  # whatever torch makes of it
            raise wrong(given, place, "the state of a generator of torch's") from error


@dataclass(frozen=True)
class Observed(Wanted):
    """Observations of a space, as tensors; floats may lie outside, since wrappers rescale them."""

    space: spaces.Space[Any]
    rows: int

    def check(self, given: Any, place: str) -> None:
        """Refuse what cannot be observed there."""
        if isinstance(self.space, spaces.Dict):
            check(given, {key: Observed(part, self.rows) for key, part in self.space.items()}, place)
            return
        if not isinstance(given, Tensor):
            raise wrong(given, place, "a tensor")
        needed = [self.rows, *(self.space.shape or ())]
        if list(given.shape) != needed:
            raise CheckpointError(f"{place} has shape {list(given.shape)}, needs {needed}")
        whole = np.issubdtype(self.space.dtype, np.integer)
        fits = not (given.is_floating_point() or given.is_complex()) if whole else given.is_floating_point()
        if not fits or (whole and not all(self.space.contains(row) for row in given.numpy())):
            raise CheckpointError(f"{place} holds what is not in {self.space}")


def weights_like(network: nn.Module) -> dict[str, Any]:
    """Return a model of a network's state: as here, with finite parameters."""
    finite = {name: Numbers(p.detach(), finite=True) for name, p in network.named_parameters()}
    return dict(network.state_dict()) | finite


def check(given: Any, model: Any, place: str = "") -> None:
    """Compare a state with its model.

    Keys that the model does not have are passed over; newer versions may write more.

    Args:
        given: The state, or a part of it.
        model: What it must look like.
        place: Where that part is.

    Raises:
        CheckpointError: If it looks otherwise; it names the place.

    Example:
        >>> check({"seen": [1, 2]}, {"seen": Many(0)})
        >>> check({"seen": torch.zeros(3)}, {"seen": torch.zeros(64)})
        Traceback (most recent call last):
        mtl_gym.core.errors.CheckpointError: seen has shape [3], needs [64]
    """
    if isinstance(model, Wanted):
        model.check(given, place)
    elif isinstance(model, Mapping):
        _check_keys(given, model, place)
    elif isinstance(model, (list, tuple)):
        _check_items(given, model, place)
    elif isinstance(model, Tensor):
        Numbers(model).check(given, place)
    else:
        _check_plain(given, model, place)


def _check_keys(given: Any, model: Mapping[Any, Any], place: str) -> None:
    if not isinstance(given, Mapping):
        raise wrong(given, place, "a dictionary")
    for key, part in model.items():
        if key in given:
            check(given[key], part, f"{place}.{key}" if place else str(key))
        elif not isinstance(part, Unneeded):
            raise CheckpointError(f"{place or 'the state'} lacks {key!r}")


def _check_items(given: Any, model: list[Any] | tuple[Any, ...], place: str) -> None:
    if not isinstance(given, (list, tuple)) or len(given) != len(model):
        raise wrong(given, place, f"a list of {len(model)}")
    for number, (item, part) in enumerate(zip(given, model, strict=True)):
        check(item, part, f"{place}.{number}")


def _check_plain(given: Any, model: Any, place: str) -> None:
    if isinstance(model, (bool, np.bool_)):
        if not isinstance(given, (bool, np.bool_)):
            raise wrong(given, place, "True or False")
    elif isinstance(model, (int, np.integer)):
        Whole().check(given, place)
    elif isinstance(model, (float, np.floating)):
        check_real(given, place)
    elif type(given) is not type(model) or given != model:
        raise wrong(given, place, repr(model))


def check_real(given: Any, place: str) -> float:
    """Return a number, which may be NaN; no integer that floats cannot hold.

    Raises:
        CheckpointError: If it is something else.
    """
    whole = isinstance(given, (int, np.integer)) and not isinstance(given, bool) and abs(given) <= GREATEST
    if not (whole or isinstance(given, (float, np.floating))):
        raise wrong(given, place, "a number")
    return float(given)


def is_sane(number: float) -> bool:
    """Return whether a number is finite and not negative, as an optimizer needs."""
    return math.isfinite(number) and number >= 0


def wrong(given: Any, place: str, needed: str) -> CheckpointError:
    """An error that names the place, what is there and what is needed."""
    plain = isinstance(given, (bool, int, float, str)) and len(repr(given)) < 40
    there = repr(given) if plain or given is None else f"of type {type(given).__name__}"
    return CheckpointError(f"{place or 'the state'} is {there}, needs {needed}")


def name_of(dtype: torch.dtype) -> str:
    """A type of torch's without its package."""
    return str(dtype).removeprefix("torch.")
