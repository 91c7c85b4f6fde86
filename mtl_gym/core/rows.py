"""Rows of batched observations, and copies of nested states."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.validation import short

Rows: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
# An array of any dtype, the observation of a family, and an info of Gymnasium: their contents are the family's.
Array: TypeAlias = NDArray[Any]
Observation: TypeAlias = Any
Info: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]


def row_of(batch: Any, row: int | np.integer[Any]) -> Any:
    """One row of a batched observation, copied."""
    if isinstance(batch, dict):
        return {key: row_of(part, row) for key, part in batch.items()}
    value = batch[row]
    return value.copy() if isinstance(value, np.ndarray) else value


def rows_of(batch: Any, rows: Rows) -> list[Any]:
    """Rows of a batch that nobody writes to any more, as views; int64 [n] -> one value or dictionary each."""
    if not isinstance(batch, dict):
        return list(batch[rows])
    columns = [rows_of(part, rows) for part in batch.values()]
    return [dict(zip(batch, values, strict=True)) for values in zip(*columns, strict=True)]


def array_of(actions: Any) -> NDArray[Any]:
    """Actions as an array, whatever they are: numbers, nested lists, arrays or tensors with or without a gradient.

    Raises:
        ValueError: If they are lists that differ in their lengths.
    """
    if isinstance(actions, Tensor):
        return actions.detach().cpu().numpy()
    try:
        return np.asarray(actions)
    except ValueError as error:
        raise ValueError(
            f"actions {short(actions)} are no array: give numbers, or lists of them that are equally long."
        ) from error


def clone(state: Any) -> Any:
    """A deep copy of nested containers, with tensors cloned."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: clone(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(clone(value) for value in state)
    return state
