"""Public names of a package, imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package whose public names are imported on first use.

    Importing the package stays cheap, and its modules may import each other without circles.

    Args:
        package: Name of the package, `__name__`.
        homes: Public names, by the name of their module within the package.

    Example:
        >>> lazily("mtl_gym.data", {"split": ("SPLITS",)})("SPLITS")
        ('train', 'validation', 'test')
    """
    modules = {name: f"{package}.{home}" for home, names in homes.items() for name in names}

    def attribute(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(modules[name]), name)
        return value

    return attribute
