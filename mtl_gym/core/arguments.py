"""Keyword arguments of constructors: which there are, of which types, and which numbers they take."""

from __future__ import annotations

import inspect
from abc import ABCMeta
from collections.abc import Callable, Mapping
from typing import TypeVar

from mtl_gym.core.ranges import Range, out_of_range
from mtl_gym.core.validation import complaint, hints_of, unknown

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# What torch's generators take.
SEEDS = Range(0, 2**63 - 1)
T = TypeVar("T")


class Checked(ABCMeta):
    """Metaclass that refuses keyword arguments of wrong types or outside their ranges before an object is made.

    A class names in `RANGES` which numbers its own arguments take, and inherits those of its bases. Arguments that are
    named nowhere take those of `WHOLE` or `NUMBERS`.

    Raises:
        ValueError: If a value is not allowed.

    Example:
        >>> class Learner(metaclass=Checked):
        ...     RANGES = {"learning_rate": Range(0, 1, "least")}
        ...     def __init__(self, *, learning_rate: float = 0.1) -> None:
        ...         self.learning_rate = learning_rate
        >>> Learner(learning_rate=0)
        Traceback (most recent call last):
        ValueError: Learner: learning_rate=0 is not possible; it takes a number above 0, at most 1.
    """

    def __call__(cls: type[T], *args: object, **arguments: object) -> T:
        """Make an object, unless a value is not allowed."""
        refuse_values(cls.__name__, cls, arguments)
        made: T = super().__call__(*args, **arguments)  # type: ignore[misc]
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        """The signature of the constructor, which `__call__` would hide."""
        constructor = inspect.signature(cls.__init__)  # type: ignore[misc]
        return constructor.replace(parameters=[*constructor.parameters.values()][1:])


def refuse_wrong(
    who: str, factory: Callable[..., object], arguments: Mapping[str, object], given: frozenset[str]
) -> None:
    """Refuse keyword arguments that an agent's constructor does not take, and values that it cannot take.

    Args:
        who: What messages call the agent.
        factory: Its class, or a function that makes it.
        arguments: Their names and values.
        given: Names that messages leave out.

    Raises:
        ValueError: If it does not take one of them.
    """
    takes = keywords_of(factory)
    if takes is None:
        return
    for name in arguments:
        if name not in takes:
            raise ValueError(unknown(who, "argument", name, (known for known in takes if known not in given)))
    refuse_values(who, factory, arguments)


def refuse_values(who: str, factory: Callable[..., object], arguments: Mapping[str, object]) -> None:
    """Refuse values of other types than a constructor asks for, and numbers outside the ranges of a `Checked` class.

    Raises:
        ValueError: If a value is not allowed.
    """
    takes, ranges = keywords_of(factory) or {}, ranges_of(factory)
    for name, value in arguments.items():
        hint = takes.get(name, object)
        wrong = complaint(name, value, hint)
        if wrong is None and ranges is not None:
            wrong = out_of_range(name, value, hint, ranges.get(name))
        if wrong is not None:
            raise ValueError(f"{who}: {wrong}")


def keywords_of(factory: Callable[..., object]) -> dict[str, object] | None:
    """Return names and types of the keyword arguments of a function or class; None if it takes any.

    A constructor with `**kwargs` passes them to that of the next class.
    """
    found: dict[str, object] = {}
    kinds = factory.__mro__[:-1] if isinstance(factory, type) else ()
    for maker in [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)] or [factory]:
        parameters, hints = inspect.signature(maker).parameters.values(), hints_of(maker)
        named = [p.name for p in parameters if p.kind in NAMED and p.name != "self" and p.name[0] != "_"]
        found |= {name: hints.get(name, object) for name in named if name not in found}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return found
    return None


def required_by(factory: Callable[..., object]) -> list[str]:
    """Return the names of the keyword arguments without which a function or class cannot be called.

    Example:
        >>> required_by(lambda env, *, weights, seed=0: env)
        ['weights']
    """
    parameters = inspect.signature(factory).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]


def ranges_of(factory: Callable[..., object]) -> dict[str, Range] | None:
    """Return the ranges of the arguments of a class and of its bases; None if it is no `Checked` class."""
    if not isinstance(factory, Checked):
        return None
    found = {"seed": SEEDS}
    for kind in reversed(factory.__mro__):
        found |= vars(kind).get("RANGES", {})
    return found
