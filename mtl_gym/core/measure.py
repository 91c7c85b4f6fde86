"""Names and directions of the figures by which policies are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """Name and direction of an environment's figure.

    Attributes:
        name: Name in tables, such as "accuracy" or "bits per byte".
        unit: Unit written behind a value; empty for none.
        higher: Whether a larger value is better.
        decimals: Decimals of a value in a table, 0 to 9; None for 2 if the unit is per cent, else 3.

    Raises:
        ValueError: If the name is empty or not one line of text, or `decimals` is out of range.

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

    def __post_init__(self) -> None:
        """Check the name and the decimals, on which tables depend."""
        if not isinstance(self.name, str) or not self.name.isprintable() or not self.name:
            raise ValueError(f"name={self.name!r} is not possible; a measure takes one line of text.")
        if self.decimals is not None and (type(self.decimals) is not int or self.decimals not in range(10)):
            raise ValueError(
                f"decimals={self.decimals!r} is not possible; a measure takes a whole number from 0 to 9 or None."
            )

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
