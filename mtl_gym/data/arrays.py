"""Conversion of a user's tensors, NumPy arrays and lists to plain tensors, with precise errors.

Every error message names the place (data set, split, task), the given value and the allowed values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.core.validation import short

Values: TypeAlias = Tensor | npt.ArrayLike
Owner: TypeAlias = Callable[[int], str]

_ALLOWED = "give a dense tensor, a NumPy array or a list of real numbers"
_KINDS = {"b": "booleans", "c": "complex numbers", "M": "dates", "m": "durations", "S": "bytes", "U": "text"}
_HIGHEST = 2**63 - 1
_NUMBERS = (int, float, np.integer, np.floating)
_DEEPEST = 64


def _nobody(row: int) -> str:
    return ""


def read_inputs(where: str, values: Values, what: str = "x") -> Tensor:
    """Return a user's inputs as a plain tensor without a gradient.

    Args:
        where: Data set, split and task, for the message.
        values: A dense tensor, a NumPy array (memory-mapped and read-only ones too), or nested lists of numbers.
        what: Name of the array, for the message.

    Returns:
        Floating inputs and booleans as float32; integers unchanged, except that unsigned integers above 8 bits become
        int64. Arrays, lists and tensors with a gradient are copied; other tensors are shared unless converted.

    Raises:
        ValueError: If the values are not real numbers.

    Example:
        >>> read_inputs("task 'a'", np.zeros((2, 3), np.float16)).dtype
        torch.float32
    """
    x = _read(where, what, values, torch.float32)
    x = x.float() if x.dtype == torch.bool else x
    if x.ndim == 0 or 0 in x.shape[1:]:
        raise ValueError(
            f"{where}: {what} is {described(values)}, but must be [rows, *input_shape] with no axis of 0; {_ALLOWED}"
        )
    return x


def read_exactly(where: str, values: Values, what: str = "x") -> Tensor:
    """Return a user's numbers as a plain tensor without a gradient, floating ones as float64.

    Raises:
        ValueError: As for `read_inputs`.
    """
    return _read(where, what, values, torch.float64)


def read_outputs(where: str, values: Values, what: str = "y") -> Tensor:
    """Return numbers, such as the targets of a regression or a mean, as a float32 tensor without a gradient.

    Raises:
        ValueError: If a value is not a finite real number.
    """
    y = _read(where, what, values, torch.float32).to(torch.float32)
    check_finite(where, y, what)
    return y


def read_labels(where: str, values: Values, what: str = "y", owner: Owner = _nobody) -> Tensor:
    """Return labels as an int64 tensor; floating values are accepted if all are whole numbers.

    Args:
        where: Data set, split and task, for the message.
        values: As for `read_inputs`.
        what: Name of the array, for the message.
        owner: Function from a row's number to a note on its task, for the message.

    Raises:
        ValueError: If a value is not a 64-bit whole number; the message names its row.

    Example:
        >>> read_labels("task 'a'", [0.0, 1.0])
        tensor([0, 1])
        >>> read_labels("task 'a'", [0.0, 0.5])
        Traceback (most recent call last):
        ValueError: task 'a': row 1 of y is 0.5, but labels are whole numbers 0, 1, 2, ...; relabel that row or drop it
    """
    y = _read(where, what, values, torch.float64)
    if y.is_floating_point():
        wrong = ~torch.isfinite(y) | (y != y.round()) | (y.abs() >= _HIGHEST)
        if bool(wrong.any()):
            place = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"{where}: {_place(what, place, owner)} is {float(y[tuple(place)]):g}, but labels are whole numbers "
                "0, 1, 2, ...; relabel that row or drop it"
            )
    return y.to(torch.int64)


def read_pair(where: str, pair: object) -> tuple[Values, Values]:
    """Return the inputs and labels of a user's pair.

    Raises:
        ValueError: If ``pair`` is not a tuple or list of length 2.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{where} is {described(pair)}, but must be a pair (x, y) of inputs and labels")
    return pair[0], pair[1]


def check_finite(where: str, x: Tensor, what: str = "x", owner: Owner = _nobody) -> None:
    """Check that all numbers are finite; ``owner`` as for `read_labels`.

    Raises:
        ValueError: If a number is not finite; the message names the first such row.
    """
    if x.is_floating_point():
        row = first_row(~torch.isfinite(x))
        if row is not None:
            raise ValueError(
                f"{where}: row {row} of {what}{owner(row)} holds NaN, infinity or a number beyond float32; "
                "drop the row or fill it"
            )


def first_row(wrong: Tensor) -> int | None:
    """Return the number of the first row of a bool ``[rows, ...]`` tensor with a True, or None."""
    rows = (wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong.reshape(-1)).nonzero()
    return int(rows[0]) if len(rows) else None


def described(values: object) -> str:
    """Describe a value by its type, dtype and shape, without its numbers.

    Example:
        >>> described(torch.zeros(2, 3)), described([1, 2, 3]), described("ab"), described({1})
        ('a tensor of torch.float32 and shape [2, 3]', 'a list of 3', "'ab'", 'a set')
    """
    if isinstance(values, Tensor):
        shape = "" if values.is_nested else f" and shape {list(values.shape)}"
        return f"a tensor of {values.dtype}{shape}"
    if isinstance(values, np.ndarray):
        return f"an array of {values.dtype} and shape {list(values.shape)}"
    if isinstance(values, (list, tuple)):
        return f"a {type(values).__name__} of {len(values)}"
    plain = values is None or isinstance(values, (str, bytes, bool, int, float, complex, np.generic))
    kind = type(values).__name__
    return short(values) if plain else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _read(where: str, what: str, values: Values, floats: torch.dtype) -> Tensor:
    """Return a plain tensor of real numbers; floating numbers have dtype ``floats``."""
    place = f"{where}: {what}"
    return _from_tensor(place, values, floats) if isinstance(values, Tensor) else _from_array(place, values, floats)


def _from_tensor(where: str, values: Tensor, floats: torch.dtype) -> Tensor:
    problem = _problem(values)
    if problem:
        raise ValueError(f"{where} is {described(values)} {problem}")
    # Copied, because an optimizer may still change a tensor that has a gradient.
    shared = not values.requires_grad and not values.is_inference()
    plain = values.detach().as_subclass(Tensor)
    plain = plain if shared else plain.clone()
    if plain.is_floating_point():
        return plain.to(floats)
    if plain.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return _signed(where, plain)
    return plain


def _problem(values: Tensor) -> str:
    """Return the reason why a tensor is unusable and its remedy, or "" for a dense tensor of real numbers."""
    if values.is_nested or values.layout != torch.strided:
        layout = "nested" if values.is_nested else str(values.layout).removeprefix("torch.")
        remedy = "pad its rows to one shape" if values.is_nested else "convert it with .to_dense()"
        return f"that is not dense ({layout}); {remedy}"
    if values.is_quantized:
        return "that is quantised; convert it with .dequantize()"
    if values.is_meta:
        return "without values (device meta); give one on the CPU or a GPU"
    return f"with complex numbers; {_ALLOWED}" if values.is_complex() else ""


def _signed(where: str, values: Tensor) -> Tensor:
    if values.dtype != torch.uint64:
        return values.to(torch.int64)
    signed = values.view(torch.int64)
    row = first_row(signed < 0)
    if row is not None:
        raise ValueError(f"{where} holds a number beyond 2**63 - 1 in row {row}; whole numbers have 64 bits at most")
    return signed


def _from_array(where: str, values: Values, floats: torch.dtype) -> Tensor:
    array = _unboxed(_array(where, values))
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} {_odd(array, values)}; {_ALLOWED}")
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        row = np.argwhere(np.ma.getmaskarray(values))[0][:1].tolist()
        raise ValueError(f"{where} has a masked value{_in_row(row)}; fill it or drop the row")
    if array.dtype.kind == "f":
        # A number beyond float32 becomes infinity; a later check reports it with its row.
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.array(array, np.float32 if floats == torch.float32 else np.float64))
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and array.max() > _HIGHEST:
        place = np.argwhere(array > _HIGHEST)[0].tolist()
        raise ValueError(
            f"{where} holds {array[tuple(place)]}{_in_row(place)}, beyond 2**63 - 1; whole numbers have 64 bits at most"
        )
    wide = array.dtype.kind == "u" and array.dtype.itemsize > 1
    return torch.from_numpy(np.array(array, np.int64 if wide else array.dtype.newbyteorder("=")))


def _array(where: str, values: Values) -> npt.NDArray[Any]:
    """Convert any value other than a tensor with NumPy."""
    try:
        return np.asarray(_without_tensors(where, values) if _holds_tensors(values) else values)
    except Exception as error:
        # NumPy calls methods of the user's objects, and its own messages describe its internals.
        if isinstance(error, ValueError) and str(error).startswith(where):
            raise
        problem = _ragged(values) if isinstance(values, (list, tuple)) else ""
        problem = problem or f"is {described(values)}, which cannot be converted to an array ({type(error).__name__})"
        raise ValueError(f"{where} {problem}; {_ALLOWED}, with all rows of one shape") from None


def _unboxed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of objects that are all real numbers, as a column of a table may be, as one of numbers."""
    if array.dtype.kind != "O" or not all(isinstance(value, _NUMBERS) for value in array.flat):
        return array
    whole = all(isinstance(value, (int, np.integer)) for value in array.flat)
    try:
        return array.astype(np.int64 if whole else np.float64)
    except OverflowError:
        return array


def _holds_tensors(values: object) -> bool:
    for _ in range(_DEEPEST):
        if not isinstance(values, (list, tuple)) or not values:
            return isinstance(values, Tensor)
        values = values[0]
    return False


def _without_tensors(where: str, values: object) -> object:
    if isinstance(values, Tensor):
        read = _from_tensor(where, values, torch.float64).cpu()
        return read.numpy()
    return [_without_tensors(where, value) for value in values] if isinstance(values, (list, tuple)) else values


def _ragged(values: Sequence[Values]) -> str:
    """Describe the first row whose shape differs from that of row 0; "" if there is none."""
    shapes = [_shape(row) for row in values]
    for row, shape in enumerate(shapes):
        if shape != shapes[0] or shape is None:
            found = "is itself ragged" if shape is None else f"has shape {shape}, and row 0 {shapes[0]}"
            return f"is ragged: row {row} {found}"
    return ""


def _shape(row: Values) -> list[int] | None:
    try:
        return list(row.shape if isinstance(row, Tensor) else np.shape(row))
    except Exception:
        return None


def _odd(array: npt.NDArray[Any], values: object) -> str:
    """Describe the first value of an array that is not a real number, with its row."""
    if array.ndim == 0:
        return f"is {described(values)}"
    if array.dtype.kind != "O":
        return f"has dtype {array.dtype}: {_KINDS.get(array.dtype.kind, 'records')}"
    odd = next((place for place, value in np.ndenumerate(array) if not isinstance(value, (int, float))), None)
    if odd is None:
        return "holds whole numbers beyond 64 bits"
    return f"holds {described(array[odd])}{_in_row(odd)}"


def _in_row(place: Sequence[int]) -> str:
    return f" in row {place[0]}" if len(place) else ""


def _place(what: str, place: Sequence[int], owner: Owner) -> str:
    if not place:
        return what
    further = f", place {list(place[1:])}" if len(place) > 1 else ""
    return f"row {place[0]} of {what}{owner(place[0])}{further}"
