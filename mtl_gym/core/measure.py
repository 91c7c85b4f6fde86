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

    Example:
        >>> ACCURACY.better(60.0, 50.0), Measure("bits per byte", higher=False).best([3.4, 3.6])
        (True, 3.4)
    """

    name: str
    unit: str = ""
    higher: bool = True

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
