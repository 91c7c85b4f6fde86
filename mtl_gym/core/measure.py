"""What the result of an evaluation is called, and which way is up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """Name and direction of an environment's figure.

    Attributes:
        name: Name in tables, such as "accuracy" or "bits per byte".
        unit: Unit written behind a value; empty for none.
        higher: Whether a larger value is better.
        decimals: Decimals of a value in a table; None for 2 if the unit is per cent, else 3.

    Example:
        >>> ACCURACY.better(60.0, 50.0), Measure("bits per byte", higher=False).best([3.4, 3.6])
        (True, 3.4)
        >>> ACCURACY.text(60.0), ACCURACY.text(1.5, sign="+")
        ('60.00', '+1.50')
    """

    name: str
    unit: str = ""
    higher: bool = True
    decimals: int | None = None

    def text(self, value: float, sign: str = "") -> str:
        """Return a value as text without its unit; `sign="+"` also writes the sign of positive values."""
        decimals = (2 if self.unit == "%" else 3) if self.decimals is None else self.decimals
        return f"{value:{sign}.{decimals}f}"

    def better(self, value: float, other: float) -> bool:
        """Return whether `value` is better than `other`."""
        return value > other if self.higher else value < other

    def best(self, values: list[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.higher else min(values)

    def __str__(self) -> str:
        """Return name and unit, as the head of a column."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


ACCURACY = Measure("accuracy", "%")
