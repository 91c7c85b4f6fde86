"""Keyword arguments of environments: those that all share, and what can be done with any."""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from mtl_gym.data.split import SPLITS

PLAIN = (bool, int, float, str)
# Options in which a checkpoint and the environment that loads it may differ.
FREE = ("device", "tensors", "render_mode", "data", "data_root")

# Plain types, and what messages call one such value and several.
_NAMES: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "truth values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    types.NoneType: ("None", "None"),
}
_COUNTS = {2: "two", 3: "three"}
_UNIONS = (Union, types.UnionType)
_LISTS = (Sequence, tuple, list)
_MAPPINGS = (Mapping, dict)
# Writes values into messages, long ones cut short.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """Keyword arguments that all environments share.

    Attributes:
        split: The part of the data that episodes are drawn from: "train", "validation" or "test".
        train: Whether acting trains the network. False freezes it.
        device: Where the network lives: "auto" (CUDA if there), "cpu", "cuda", "cuda:1", ...
        tensors: Hand back torch tensors on `device` instead of NumPy arrays (batched environments only).
        render_mode: None, "rgb_array", "human" or "ansi".
    """

    split: str = "train"
    train: bool = True
    device: str | torch.device = "auto"
    tensors: bool = False
    render_mode: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work; families add to it."""
        self._require("split", self.split in SPLITS, f"one of {SPLITS}")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{name}={_SHORT.repr(getattr(self, name))} is not possible; it takes {allowed}.")

    def _require_counts(self, *names: str) -> None:
        for name in names:
            self._require(name, getattr(self, name) >= 1, "1 or more")

    def _require_finite(self, name: str) -> None:
        self._require(name, abs(getattr(self, name)) < inf, "a finite number")


Chosen = TypeVar("Chosen", bound=EnvOptions)


def make_options(kind: type[Chosen], environment: str, given: dict[str, Any]) -> Chosen:
    """Options of a kind from keyword arguments.

    Raises:
        ValueError: If an option is unknown, or a value is not allowed. `environment` is whose it is, for the message.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{environment} has no option {name!r}.{hint} It takes {', '.join(fields)}.")
    hints, plain = _hints(kind), {name: _bare(value) for name, value in given.items()}
    for name, value in plain.items():
        hint = hints.get(name, Any)
        if value is not fields[name].default and not _fits(value, hint):
            wrong = f"{name}={_SHORT.repr(value)} is not possible; it takes {_allowed(hint)}."
            raise ValueError(f"{environment}: {wrong}{_advice(value, hint)}")
    return kind(**plain)


def shallow_dict(options: EnvOptions) -> dict[str, Any]:
    """The fields of `options` as keyword arguments, without copying what they hold."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def must_agree(options: EnvOptions) -> dict[str, Any]:
    """The options in which a checkpoint and the one that loads it must agree: plain values and lists of them."""
    fields = {name: value for name, value in shallow_dict(options).items() if name not in FREE}
    return {name: _written(value) for name, value in fields.items() if _is_written(value)}


def _is_written(value: Any) -> bool:
    """Whether it is plain, or holds nothing else; None, which any object may stand in the place of, is not."""
    if isinstance(value, Mapping):
        return all(map(_is_written, value.values()))
    if isinstance(value, (list, tuple, np.ndarray)):
        return all(map(_is_written, value))
    return isinstance(value, (*PLAIN, np.generic))


def _written(value: Any) -> Any:
    """The same out of lists and dictionaries alone, so that it is equal however it was given."""
    if isinstance(value, Mapping):
        return {str(key): _written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_written(item) for item in value]
    return _bare(value)


def choose_device(name: str | torch.device) -> torch.device:
    """The torch device for `name`, where "auto" is CUDA if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f'device={name!r} is unknown; use "auto", "cpu" or "cuda".') from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device={name!r} is not there: torch sees no GPU; use device="cpu" or "auto".')
    return device


def _hints(kind: type[EnvOptions]) -> dict[str, Any]:
    """The types of options; none where a module imports one of them for type checkers alone."""
    try:
        return get_type_hints(kind)
    except NameError:
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type: plain, a list, a mapping, a class or a function; any other type takes anything."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in _UNIONS:
        return any(_fits(value, part) for part in parts)
    if hint in _NAMES:
        return _is_plain(_bare(value), hint)
    if origin in _LISTS:
        return _is_list(value, hint)
    if origin in _MAPPINGS:
        return isinstance(value, Mapping)
    return _is_thing(value, hint) if _is_class(hint) or origin is Callable else True


def _is_plain(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _is_list(value: Any, hint: Any) -> bool:
    items, parts = _items(value), get_args(hint)
    if items is None or (_is_fixed(hint) and len(items) != len(parts)):
        return False
    return all(map(_fits, items, parts if _is_fixed(hint) else parts[:1] * len(items)))


def _is_fixed(hint: Any) -> bool:
    """Whether it is a tuple of a fixed length."""
    return get_origin(hint) is tuple and Ellipsis not in get_args(hint)


def _is_class(hint: Any) -> bool:
    """Whether `isinstance` can tell its values, as it cannot for `Any`, protocols and generic types."""
    special = hint is Any or get_origin(hint) is not None or getattr(hint, "_is_protocol", False)
    return isinstance(hint, type) and not special


def _is_thing(value: Any, hint: Any) -> bool:
    """Whether it may be a data set, a network or a function: these are told from plain values and lists only."""
    known = _is_class(hint) and isinstance(value, hint)
    return known or not isinstance(value, (*_NAMES, list, tuple, dict))


def _bare(value: Any) -> Any:
    """A scalar of NumPy as Python's; all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _items(value: Any) -> list[Any] | None:
    """What a list, tuple, array or the like holds; None for what is no such thing, as text is not."""
    if isinstance(value, (np.ndarray, Tensor)):
        return value.tolist() if value.ndim else None
    indexed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return list(value) if indexed and not isinstance(value, (str, bytes, Mapping, type)) else None


def _allowed(hint: Any) -> str:
    """What a type allows, in words."""
    *most, last = _alternatives(hint)
    return f"{', '.join(most)} or {last}" if most else last


def _alternatives(hint: Any) -> list[str]:
    if get_origin(hint) in _UNIONS:
        return [text for part in get_args(hint) for text in _alternatives(part)]
    return ["True", "False"] if hint is bool else [_noun(hint)]


def _noun(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if hint in _NAMES:
        return _NAMES[hint][0]
    if origin in _LISTS:
        count = _COUNTS.get(len(parts), str(len(parts))) if _is_fixed(hint) else "a list of"
        return f"{count} {_plurals(part for part in parts if part is not Ellipsis)}"
    if origin in _MAPPINGS:
        return "a mapping"
    return "a function" if origin is Callable else f"a {hint.__name__}"


def _plurals(hints: Iterable[Any]) -> str:
    return " or ".join(dict.fromkeys(map(_plural, hints)))


def _plural(hint: Any) -> str:
    """Several values of a type, in words."""
    if get_origin(hint) in _UNIONS:
        return _plurals(get_args(hint))
    if get_origin(hint) in _LISTS:
        return f"lists of {_plural(get_args(hint)[0])}"
    return _NAMES[hint][1] if hint in _NAMES else f"{getattr(hint, '__name__', 'value')}s"


def _advice(value: Any, hint: Any) -> str:
    """What to do about text in the place of numbers or of a list; nothing for other mistakes."""
    allowed = _allowed(hint)
    numbers = [item for item in _items(value) or [value] if isinstance(item, str) and _is_number(item)]
    if "number" in allowed and numbers:
        written = np.format_float_positional(float(numbers[0]), trim="-")
        yaml = "; YAML reads 1e-3 as text, and 1.0e-3 as a number" if "e" in numbers[0].lower() else ""
        return f" {numbers[0]!r} is text: write {written}, without quotes{yaml}."
    if "list of texts" in allowed and isinstance(value, str):
        return f" Write [{value!r}]."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
