"""Which numbers options take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from mtl_gym.core.validation import allowed, bare, items_of, short


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`; those ends that are `open` do not belong to it.

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
        """Whether a number belongs to it; NaN and infinity never do."""
        low = self.least < number if self.open in ("least", "both") else self.least <= number
        return low and (number < self.most if self.open in ("most", "both") else number <= self.most)

    def __str__(self) -> str:
        """Its ends, in words."""
        least, most = _written(self.least), _written(self.most)
        if self.open == "both":
            return f"between {least} and {most}"
        if self.open == "most":
            return f"from {least}, below {most}"
        return f"above {least}, at most {most}" if self.open == "least" else f"from {least} to {most}"


# Finite as a float32, in which rewards and weights are worked out.
NUMBERS = Range(-1e38, 1e38)
WHOLE = Range(0, 1_000_000)
# Of samples, episodes and steps; of what a network has many of, layers or units.
COUNTS, SIZES = Range(1, 1_000_000), Range(1, 10_000)
POSITIVE, NOT_NEGATIVE = Range(0, 1e38, "least"), Range(0, 1e38)
SHARES, PART = Range(0, 1), Range(0, 1, "least")


def out_of_range(name: str, value: Any, hint: Any, within: Range | None = None) -> str | None:
    """What to say of a value with a number that is outside its range; None if there is no such number.

    Args:
        name: Of the value.
        value: A number, a list of numbers, or anything else, which has no range.
        hint: Its type.
        within: The range; by default `WHOLE` for whole numbers, and else `NUMBERS`.

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


def _number_kinds(hint: Any) -> Iterator[type]:
    """`int` and `float` in a type, but not in those of a function's arguments."""
    if hint in (int, float):
        yield hint
    elif get_origin(hint) in (Union, UnionType) or get_origin(hint) in (Sequence, tuple, list):
        for part in get_args(hint):
            yield from _number_kinds(part)


def _numbers(value: Any) -> Iterator[float]:
    value = bare(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value
    elif not isinstance(value, (int, float)):
        for item in items_of(value) or ():
            yield from _numbers(item)


def _written(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
