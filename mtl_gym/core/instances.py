"""Hidden truths of generated environments: which one, and the generator that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import numpy as np

from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import WHOLE, Range

# Keeps truths apart from what agents draw from small seeds.
SALT = 0x6D746C5F67796D


@dataclass(frozen=True, kw_only=True)
class GeneratedOptions(EnvOptions):
    """Keyword arguments that generated environments share, besides those of `EnvOptions`.

    Attributes:
        instance: Number of the hidden truth and its data: another number, another problem of the same difficulty. The
            seed of `reset` changes weights and order only.

    `data_kwargs` is None, because an environment makes its own data.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"instance": WHOLE}

    instance: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        self._only("the environment makes its own data", data_kwargs=None)

    def _only(self, reason: str, **values: object) -> None:
        """Refuse other values of options on which the known best decision depends, and say why."""
        for name, value in values.items():
            self._require(name, getattr(self, name) == value, f"{value!r} only: {reason}")


def secret(name: str, instance: int) -> np.random.Generator:
    """Return the generator of the hidden truth of an instance.

    No agent with a small seed draws the same numbers, because the seed is salted.

    Args:
        name: Name of the problem; different names give independent generators.
        instance: Number of the instance.

    Example:
        >>> bool(secret("paths", 0).integers(1000) == secret("paths", 0).integers(1000))
        True
        >>> bool(secret("paths", 0).integers(1000) == np.random.default_rng(0).integers(1000))
        False
    """
    return np.random.default_rng(np.random.SeedSequence([SALT, crc32(name.encode()), instance]))
