"""Rows of batched observations, and copies of nested states."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.validation import short

Rows: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
# An array of any dtype, the observation of a family, and an info of Gymnasium; each family defines their contents.
Array: TypeAlias = NDArray[Any]
Observation: TypeAlias = Any
Info: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]


def row_of(batch: Any, row: int | np.integer[Any]) -> Any:
    """Return a copy of one row of a batched observation."""
    if isinstance(batch, dict):
        return {key: row_of(part, row) for key, part in batch.items()}
    value = batch[row]
    return value.copy() if isinstance(value, np.ndarray) else value


def rows_of(batch: Any, rows: Rows) -> list[Any]:
    """Return rows of a batch as views, one value or dictionary each; do not write to the batch afterwards.

    Args:
        batch: An array or a dictionary of arrays, [rows, ...].
        rows: Row numbers; int64 [n].
    """
    if not isinstance(batch, dict):
        return list(batch[rows])
    columns = [rows_of(part, rows) for part in batch.values()]
    return [dict(zip(batch, values, strict=True)) for values in zip(*columns, strict=True)]


def array_of(actions: Any) -> NDArray[Any]:
    """Convert actions (numbers, nested lists, arrays, or tensors with or without a gradient) to an array.

    Raises:
        ValueError: If nested lists have different lengths.
    """
    if isinstance(actions, Tensor):
        return actions.detach().cpu().numpy()
    try:
        return np.asarray(actions)
    except ValueError as error:
        raise ValueError(
            f"actions {short(actions)} are not an array: give numbers, or lists of numbers of equal length."
        ) from error


def clone(state: Any) -> Any:
    """Return a deep copy of nested containers, with tensors cloned."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: clone(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(clone(value) for value in state)
    return state
