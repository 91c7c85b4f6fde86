"""Dropout with masks computed from a key, so that each stacked run has its own.

Under `torch.func.vmap` all runs draw from one generator, and a run's masks depend on its position in the stack. Here a
mask is a hash of the run's key and of each value's position: independent of other runs, identical on every device, and
without draws from torch's generators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mtl_gym.core.rows import Arguments, Rows

# Value of dropped entries in alpha dropout: -scale * alpha of torch's SELU.
_LEFT_OUT = -1.7580993408473766
_BITS = 2**32 - 1
# Part of the definition of a key: updates whose keys come from one generator.
_KEYS_AT_ONCE = 256

Rule: TypeAlias = Callable[[Tensor, Tensor, float], Tensor]


class KeyedDropout(TorchFunctionMode):
    """Context in which torch's dropout functions take their masks from a key.

    It covers `torch.nn.functional.dropout` and its variants, called by modules of `torch.nn` or by user code. Other
    random functions (`rrelu`, attention with dropout inside its kernel, `rand_like`) are unchanged.

    Args:
        key: int64 [], from 0 to 2^32 - 1.

    Example:
        >>> with KeyedDropout(torch.tensor(7)):
        ...     first = functional.dropout(torch.ones(1000), 0.25)
        >>> with KeyedDropout(torch.tensor(7)):
        ...     torch.equal(first, functional.dropout(torch.ones(1000), 0.25))
        True
    """

    def __init__(self, key: Tensor) -> None:
        super().__init__()
        self.key, self.calls = key, 0

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Arguments | None = None,
    ) -> object:
        """Call a function of torch, or its keyed replacement."""
        rule = _RULES.get(function)
        if rule is None:
            return function(*args, **(kwargs or {}))
        options: Arguments = {"training": function in _ON_BY_DEFAULT} | (kwargs or {})
        x, share, training = _arguments(*args, **options)
        if not training or share == 0:
            return x
        self.calls += 1
        return rule(x, _mixed(self.key + self.calls * 0x9E3779B9), share)


class RunKeys:
    """Dropout keys of training runs: a key depends on the seed of its run and on the number of the update alone.

    Args:
        seeds: Seed of each run.

    Example:
        >>> bool(RunKeys([5, 6, 7]).at(300)[2] == RunKeys([7]).at(300)[0])
        True
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds, self._block = list(seeds), -1

    def at(self, update: int) -> Rows:
        """Return the key of each run at an update; int64 [runs] in [0, 2^32)."""
        block, place = divmod(update, _KEYS_AT_ONCE)
        if block != self._block:
            draws = [np.random.default_rng([seed, block, 1]) for seed in self._seeds]
            self._block, self._keys = block, np.stack([draw.integers(2**32, size=_KEYS_AT_ONCE) for draw in draws])
        return self._keys[:, place]


def key_of_part(key: Tensor, part: Tensor) -> Tensor:
    """Return the key of one part of a run, such as a minibatch or a network; int64 [] and int64 [] -> int64 []."""
    return _mixed(_mixed(part + 1) ^ key)


def _arguments(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[Tensor, float, bool]:
    return input, p, training


def _kept(shape: Sequence[int], key: Tensor, share: float) -> Tensor:
    """Return the positions that dropout keeps; bool of the given shape."""
    place = torch.arange(torch.Size(shape).numel(), device=key.device).view(shape)
    return _mixed(_mixed(place) ^ key) >= share * (_BITS + 1)


def _mixed(number: Tensor) -> Tensor:
    """Return a 32-bit hash; int64 -> int64 in [0, 2^32).

    Source: C. Wellons, "Prospecting for Hash Functions", 2018: lowbias32.
    """
    number = number & _BITS
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & _BITS
    number = ((number ^ (number >> 15)) * 0x846CA68B) & _BITS
    return number ^ (number >> 16)


def _values(x: Tensor, key: Tensor, share: float) -> Tensor:
    return _scaled(x, _kept(x.shape, key, share), share)


def _channels(x: Tensor, key: Tensor, share: float) -> Tensor:
    return _scaled(x, _kept_channels(x, key, share), share)


def _alpha_values(x: Tensor, key: Tensor, share: float) -> Tensor:
    return _alpha(x, _kept(x.shape, key, share), share)


def _alpha_channels(x: Tensor, key: Tensor, share: float) -> Tensor:
    return _alpha(x, _kept_channels(x, key, share), share)


def _kept_channels(x: Tensor, key: Tensor, share: float) -> Tensor:
    return _kept((*x.shape[:2], *[1] * (x.ndim - 2)), key, share)


def _scaled(x: Tensor, kept: Tensor, share: float) -> Tensor:
    return x * kept / (1 - share) if share < 1 else x * 0


def _alpha(x: Tensor, kept: Tensor, share: float) -> Tensor:
    """Saturate dropped values, then restore mean and variance.

    Source: Klambauer et al. 2017, section 3.
    """
    if share == 1:
        return x * 0
    slope = ((1 - share) * (1 + share * _LEFT_OUT**2)) ** -0.5
    return slope * torch.where(kept, x, _LEFT_OUT) - slope * _LEFT_OUT * share


_RULES: dict[Callable[..., object], Rule] = {
    functional.dropout: _values,
    functional.dropout1d: _channels,
    functional.dropout2d: _channels,
    functional.dropout3d: _channels,
    functional.alpha_dropout: _alpha_values,
    functional.feature_alpha_dropout: _alpha_channels,
}
_ON_BY_DEFAULT = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
