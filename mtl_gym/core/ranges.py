"""Ranges of the numbers that options allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Union, get_args, get_origin

from mtl_gym.core.validation import allowed, bare, items_of, short


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, without the ends that are `open`: "least", "most" or "both".

    Example:
        >>> 0 in Range(0, 1), 0.0 in Range(0, 1, "least"), float("nan") in Range(0, 1)
        (True, False, False)
        >>> str(Range(1, 10_000)), str(Range(0, 1, "least"))
        ('from 1 to 10,000', 'above 0, at most 1')
    """

    least: float
    most: float
    open: str = ""

    def __contains__(self, number: float) -> bool:
        """Return whether a number is in the range; NaN and infinity never are."""
        low = self.least < number if self.open in ("least", "both") else self.least <= number
        return low and (number < self.most if self.open in ("most", "both") else number <= self.most)

    def __str__(self) -> str:
        """Return the range in words."""
        least, most = _written(self.least), _written(self.most)
        if self.open == "both":
            return f"between {least} and {most}"
        if self.open == "most":
            return f"from {least}, below {most}"
        return f"above {least}, at most {most}" if self.open == "least" else f"from {least} to {most}"


# Finite as float32, the dtype of rewards and weights.
NUMBERS = Range(-1e38, 1e38)
WHOLE = Range(0, 1_000_000)
# Numbers of samples, episodes and steps; numbers of layers and units of a network.
COUNTS, SIZES = Range(1, 1_000_000), Range(1, 10_000)
POSITIVE, NOT_NEGATIVE = Range(0, 1e38, "least"), Range(0, 1e38)
SHARES, PART = Range(0, 1), Range(0, 1, "least")


def out_of_range(name: str, value: object, hint: object, within: Range | None = None) -> str | None:
    """Return an error message if a value has a number outside its range, or None if it has not.

    Args:
        name: Name of the value.
        value: A number, a list of numbers, or any other value, which is not checked.
        hint: Type of the value.
        within: The range; by default `WHOLE` for whole numbers and `NUMBERS` for others.

    Example:
        >>> out_of_range("hidden", 0, int | None, SIZES)
        'hidden=0 is not possible; it takes a whole number from 1 to 10,000 or None.'
        >>> out_of_range("penalties", (1, float("inf")), tuple[float, float])
        'penalties=(1, inf) is not possible; it takes two numbers from -1e+38 to 1e+38.'
    """
    kinds = set(_number_kinds(hint))
    within = within or (NUMBERS if float in kinds else WHOLE)
    if not kinds or all(number in within for number in _numbers(value)):
        return None
    return f"{name}={short(value)} is not possible; it takes {allowed(hint, str(within))}."


def _number_kinds(hint: object) -> Iterator[type]:
    """Yield the `int` and `float` in a type, except in the arguments of a function."""
    if hint in (int, float):
        yield hint
    elif get_origin(hint) in (Union, UnionType) or get_origin(hint) in (Sequence, tuple, list):
        for part in get_args(hint):
            yield from _number_kinds(part)


def _numbers(value: object) -> Iterator[float]:
    value = bare(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value
    elif not isinstance(value, (int, float)):
        for item in items_of(value) or ():
            yield from _numbers(item)


def _written(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
