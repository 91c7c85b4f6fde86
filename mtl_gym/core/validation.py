"""Validation of values against type hints, with error messages."""

from __future__ import annotations

import difflib
import inspect
import re
import reprlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any, Protocol, TypeGuard, Union, cast, get_args, get_origin, get_type_hints, runtime_checkable

import numpy as np
from torch import Tensor
from typing_extensions import is_protocol

# Plain types with their names in messages, singular and plural.
_NAMES: dict[object, tuple[str, str]] = {
    bool: ("True or False", "booleans"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    types.NoneType: ("None", "None"),
}
_COUNTS = {2: "two", 3: "three"}
_UNIONS = (Union, types.UnionType)
_LISTS = (Sequence, tuple, list)
_MAPPINGS = (Mapping, dict)
# Formats values for messages and shortens long ones.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def short(value: object) -> str:
    """Return a value as text for a message: in one line, shortened if long."""
    return re.sub(r"\s*\n\s*", " ", _SHORT.repr(value))


def complaint(name: str, value: object, hint: object) -> str | None:
    """Return an error message with the remedy if a value is not of a type, or None if it is.

    Example:
        >>> complaint("hidden", 2.5, int)
        'hidden=2.5 is not possible; it takes a whole number.'
        >>> complaint("hidden", 2, int)
    """
    if _fits(value, hint):
        return None
    return f"{name}={short(value)} is not possible; it takes {allowed(hint)}.{_advice(value, hint)}"


def unknown(who: str, what: str, name: object, known: Iterable[str]) -> str:
    """Return an error message for an unknown name.

    Example:
        >>> unknown("WPL", "argument", "seeed", ["seed", "verbose"])
        "WPL has no argument 'seeed'. Did you mean 'seed'? It takes seed, verbose."
    """
    names = list(known)
    return f"{who} has no {what} {name!r}.{did_you_mean(str(name), names)} It takes {', '.join(names)}."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the nearest known name, or "" if there is none."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def bare(value: object) -> Any:
    """Convert a NumPy scalar to a Python scalar; return any other value unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def hints_of(kind: object) -> dict[str, object]:
    """Return the types of fields or arguments, except names that exist only for type checkers."""
    try:
        return get_type_hints(kind)
    except TypeError:  # an object without hints
        return {}
    except NameError:
        names = kind.__globals__ if isinstance(kind, types.FunctionType) else {}
        return {name: found for name, hint in kind.__annotations__.items() for found in _resolved(hint, names)}


def _resolved(hint: object, names: dict[str, object]) -> list[object]:
    """Return a list of the resolved type, empty if a name in it is unknown."""
    try:
        return list(get_type_hints(types.SimpleNamespace(__annotations__={"it": hint}), names).values())
    except NameError:
        return []


def _fits(value: object, hint: object) -> bool:
    """Return whether a value is of a type: plain, list, mapping, class or function; other types accept any value."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        return any(_fits(value, part) for part in parts)
    if isinstance(hint, type) and hint in _NAMES:
        return _is_plain(bare(value), hint)
    if origin in _LISTS:
        return _is_list(value, hint)
    if origin in _MAPPINGS:
        return isinstance(value, Mapping)
    return _is_thing(value, hint) if _is_class(hint) or origin is Callable else True


def _is_plain(value: object, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _is_list(value: object, hint: object) -> bool:
    items, parts = items_of(value), get_args(hint)
    if items is None or (_is_fixed(hint) and len(items) != len(parts)):
        return False
    return all(map(_fits, items, parts if _is_fixed(hint) else parts[:1] * len(items)))


def _is_fixed(hint: object) -> bool:
    """Return whether a type is a tuple of fixed length."""
    return get_origin(hint) is tuple and Ellipsis not in get_args(hint)


def _is_class(hint: object) -> TypeGuard[type]:
    """Return whether `isinstance` applies to a type, which excludes `Any`, protocols and generic types."""
    return isinstance(hint, type) and hint is not Any and get_origin(hint) is None and not is_protocol(hint)


def _is_thing(value: object, hint: object) -> bool:
    """Return whether a value is an instance of a class or, for function types, callable."""
    return isinstance(value, hint) if _is_class(hint) else callable(value)


def items_of(value: object) -> list[object] | None:
    """Return the items of a list, tuple, array or similar; None for other values, text included."""
    if isinstance(value, (np.ndarray, Tensor)):
        return value.tolist() if value.ndim else None
    indexed = hasattr(value, "__getitem__") and isinstance(value, Sized)
    if not indexed or isinstance(value, (str, bytes, Mapping, type)):
        return None
    return list(cast(Iterable[object], value))


def allowed(hint: object, span: str = "") -> str:
    """Return the values that a type allows, in words; `span` limits the numbers.

    Example:
        >>> allowed(int | None), allowed(tuple[float, float], "from 0 to 1")
        ('a whole number or None', 'two numbers from 0 to 1')
    """
    *most, last = [re.sub(r"\bnumbers?\b", rf"\g<0> {span}".rstrip(), text) for text in _alternatives(hint)]
    return f"{', '.join(most)} or {last}" if most else last


def _alternatives(hint: object) -> list[str]:
    if get_origin(hint) in _UNIONS:
        return [text for part in get_args(hint) for text in _alternatives(part)]
    return ["True", "False"] if hint is bool else [_noun(hint)]


def _noun(hint: object) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if hint in _NAMES:
        return _NAMES[hint][0]
    if origin in _LISTS:
        count = _COUNTS.get(len(parts), str(len(parts))) if _is_fixed(hint) else "a list of"
        return f"{count} {_plurals(part for part in parts if part is not Ellipsis)}"
    if origin in _MAPPINGS:
        return "a mapping"
    return "a function" if origin is Callable else f"a {_name(hint)}"


def _plurals(hints: Iterable[object]) -> str:
    return " or ".join(dict.fromkeys(map(_plural, hints)))


def _plural(hint: object) -> str:
    """Return the plural name of a type."""
    if get_origin(hint) in _UNIONS:
        return _plurals(get_args(hint))
    if get_origin(hint) in _LISTS:
        return f"lists of {_plural(get_args(hint)[0])}"
    return _NAMES[hint][1] if hint in _NAMES else f"{_name(hint)}s"


@runtime_checkable
class _HasName(Protocol):
    __name__: str


def _name(hint: object) -> str:
    return hint.__name__ if isinstance(hint, _HasName) else "value"


def _advice(value: object, hint: object) -> str:
    """Return the remedy for text instead of numbers or a list, or for a class; "" for other mistakes."""
    classes = [item for item in items_of(value) or [value] if isinstance(item, type)]
    if classes:
        return class_advice(classes[0])
    wanted = allowed(hint)
    numbers = [item for item in items_of(value) or [value] if isinstance(item, str) and _is_number(item)]
    if "number" in wanted and numbers:
        written = np.format_float_positional(float(numbers[0]), trim="-")
        yaml = "; YAML reads 1e-3 as text, and 1.0e-3 as a number" if "e" in numbers[0].lower() else ""
        return f" {numbers[0]!r} is text: write {written}, without quotes{yaml}."
    if "list of texts" in wanted and isinstance(value, str):
        return f" Write [{value!r}]."
    return ""


def class_advice(value: object) -> str:
    """Return the remedy for a class instead of an instance; "" for other values.

    Example:
        >>> class_advice(dict)
        ' dict is a class: give an object of it, such as dict(...).'
    """
    if not isinstance(value, type):
        return ""
    return f" {value.__name__} is a class: give an object of it, such as {value.__name__}(...)."


def takes(function: Callable[..., object], count: int) -> bool:
    """Return whether a function can be called with so many positional arguments; True if it has no signature.

    Example:
        >>> takes(len, 1), takes(len, 2)
        (True, False)
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some built-in functions
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
