"""Columns of a table as inputs and categories, with errors that name the column, the row and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.core.validation import did_you_mean, short
from mtl_gym.data.arrays import check_finite, described, read_inputs
from mtl_gym.data.doors.samples import Categories, Codes
from mtl_gym.data.rounding import tell_rounding

Column = npt.NDArray[Any]
Name: TypeAlias = str | int
Names: TypeAlias = Name | Iterable[Name]
_IMAGE_CHANNELS = (1, 3, 4)


def names_of(given: object) -> list[str]:
    """Return one name, or those of a list, array or index, as text.

    A set counts as one name, because its order, and so that of tasks, would differ between runs.

    Example:
        >>> names_of("width"), names_of(np.array(["width", "height"])), names_of(3)
        (['width'], ['width', 'height'], ['3'])
    """
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Set) or getattr(given, "ndim", 1) == 0:
        return [str(given)]
    return [str(name) for name in given]


def check_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Check that columns exist.

    Raises:
        ValueError: If one does not; the message lists those that do.
    """
    for column in wanted:
        if column not in there:
            hint = did_you_mean(column, there)
            raise ValueError(f"{where} has no column {short(column)}.{hint} Its columns are {', '.join(there)}")


def check_distinct(where: str, columns: Sequence[str], use: str) -> None:
    """Raise ValueError if a column is named twice."""
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"{where}: column {short(twice[0])} is named twice {use}; name it once")


def input_columns(where: str, inputs: Sequence[str] | None, used: Sequence[str], there: Sequence[str]) -> list[str]:
    """Return the columns of the inputs: those that the user names, or all that are not used for anything else.

    Raises:
        ValueError: If there is none, one does not exist, or one is the label, task or split as well.
    """
    if inputs is None:
        chosen = [column for column in there if column not in used]
    else:
        check_columns(where, inputs, there)
        check_distinct(where, inputs, "in inputs")
        chosen = [*inputs]
    leaked = [column for column in chosen if column in used]
    if leaked:
        raise ValueError(f"{where}: column {leaked[0]!r} is an input and a label, task or split; take it out of inputs")
    if not chosen:
        raise ValueError(f"{where} has the columns {', '.join(there)} and none for inputs; name them in inputs=")
    return chosen


def read_column_inputs(where: str, columns: Mapping[str, Column]) -> Tensor:
    """Return one column of arrays as they are, or several columns of numbers side by side.

    Args:
        where: Name of the data set, for messages.
        columns: Values of each column, `[rows]` or `[rows, ...]`; images have their channels last.

    Returns:
        uint8 `[rows, channels, height, width]` for one column of images, else float32 `[rows, *input_shape]`.

    Raises:
        ValueError: If a value is missing, text, or not finite, or arrays have different shapes.
    """
    read = {name: _numbers(where, name, values) for name, values in columns.items()}
    if len(read) == 1:
        (x,) = read.values()
        return _with_channels(x) if x.ndim > 1 else x[:, None].float()
    for name, x in read.items():
        if x.ndim > 1:
            raise ValueError(
                f"{where}: column {name!r} holds arrays of shape {list(x.shape[1:])}, and inputs are {list(read)}; "
                f"arrays must be the only input: inputs={name!r}"
            )
    return torch.stack([x.float() for x in read.values()], 1)


def read_categories(where: str, column: str, values: Column) -> Categories:
    """Number the values of a column of tasks or labels.

    Args:
        where: Name of the data set, for messages.
        column: Name of the column, for messages.
        values: Whole numbers, booleans or text, `[rows]`.

    Returns:
        Categories in the order of their values; whole floating numbers are named as whole numbers.

    Raises:
        ValueError: If a value is missing, an array, or a number that is not whole.

    Example:
        >>> read_categories("a frame", "label", np.array([2.0, 10.0, 2.0])).names
        ('2', '10')
    """
    check_present(where, column, values)
    if values.ndim != 1 or (len(values) and isinstance(values[0], (list, tuple, dict, np.ndarray))):
        raise ValueError(
            f"{where}: column {column!r} holds {described(values[0])} in row 0, but needs one class or task per row; "
            "use a column of names or whole numbers"
        )
    kind = "number" if all(isinstance(value, (int, float, np.number)) for value in values.tolist()) else "text"
    plain = _plain_numbers(values.tolist()) if kind == "number" else _texts(where, column, values)
    if plain.dtype.kind == "f":
        broken = np.flatnonzero(~np.isfinite(plain) | (plain != np.round(plain)))
        if len(broken):
            raise ValueError(
                f"{where}: column {column!r} holds {plain[broken[0]]:g} in row {broken[0]}, but classes and tasks are "
                "names or whole numbers; round the values, cut them into classes (pandas.cut), or use another column"
            )
    found, codes = np.unique(plain, return_inverse=True)
    names = tuple(str(int(value)) if kind == "number" else str(value) for value in found)
    return Categories(codes.astype(np.int64), _booleans(plain, names))


def _plain_numbers(values: list[Any]) -> Column:
    """Return numbers as an array; whole ones are exact even if no integer type holds them all."""
    plain = np.array(values)
    whole = plain.dtype.kind == "f" and all(isinstance(value, int) for value in values)
    return np.array(values, object) if whole else plain


def _texts(where: str, column: str, values: Column) -> Column:
    try:
        return values.astype(str)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: column {column!r} holds bytes that are no text ({error}); decode them") from None


def check_present(where: str, column: str, values: Column) -> None:
    """Check that no value of a column is missing.

    Raises:
        ValueError: If one is; the message names the first such row and counts them.
    """
    absent = np.flatnonzero(is_missing(values))
    if len(absent):
        raise ValueError(
            f"{where}: column {column!r} has no value in row {absent[0]} ({len(absent)} of {len(values)} rows); "
            "fill them or drop these rows"
        )


def is_missing(values: Column) -> npt.NDArray[np.bool_]:
    """Return which rows of a column have no value: None, NaN, NaT or pandas' NA; bool `[rows]`."""
    import pandas

    if values.ndim > 1:
        return np.zeros(len(values), bool)
    if values.dtype.kind == "O":
        # An array within a row is a value, whatever it holds.
        return np.array([np.ndim(value) == 0 and pandas.isna(value) is True for value in values], bool)
    return np.asarray(pandas.isna(values))


def _booleans(values: Column, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(("False", "True")[int(name)] for name in names) if values.dtype.kind == "b" else names


def _numbers(where: str, column: str, values: Column) -> Tensor:
    """Return the values of an input column, as numbers of any dtype."""
    check_present(where, column, values)
    text = _first(values, str)
    if values.dtype.kind in "USTMm" or text is not None:
        row, what = (0, "dates or durations") if values.dtype.kind in "Mm" else (text or 0, "text")
        raise ValueError(
            f"{where}: column {column!r} holds {what} ({short(str(values[row]))} in row {row}), but inputs are "
            "numbers; leave it out of inputs, or turn it into numbers (categories: pandas.get_dummies; sentences: an "
            "encoder)"
        )
    rows = list(values) if values.dtype.kind == "O" else values
    x = read_inputs(where, rows, f"column {column!r}")
    check_finite(where, x, f"column {column!r}")
    tell_rounding(where, f"column {column!r}", rows)
    return x


def _first(values: Column, kind: type) -> int | None:
    """Return the first row of a column of objects that holds a value of this type, or None."""
    if values.dtype.kind != "O":
        return None
    return next((row for row, value in enumerate(values) if isinstance(value, kind)), None)


def _with_channels(x: Tensor) -> Tensor:
    """Return images with channels first; other arrays as float32."""
    if x.dtype == torch.uint8 and x.ndim == 3:
        return x[:, None]
    if x.dtype == torch.uint8 and x.ndim == 4 and x.shape[-1] in _IMAGE_CHANNELS:
        return x.permute(0, 3, 1, 2).contiguous()
    return x if x.dtype == torch.uint8 else x.float()


def joined(parts: Sequence[Categories]) -> Categories:
    """Concatenate categories; names of different parts stay apart even if they are equal."""
    starts = np.cumsum([0] + [len(part.names) for part in parts[:-1]])
    codes: Codes = np.concatenate([part.codes + start for part, start in zip(parts, starts, strict=True)])
    return Categories(codes, tuple(name for part in parts for name in part.names))
