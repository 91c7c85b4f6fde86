"""Rows of batched observations, and copies of nested states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.validation import short

Rows: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Picture: TypeAlias = NDArray[np.uint8]
# An array of any dtype.
Array: TypeAlias = NDArray[Any]
# The family decides what these hold: observations are arrays or dictionaries of arrays, tensors with `tensors=True`;
# figures of a step are arrays or tensors.
Observation: TypeAlias = Any
Figures: TypeAlias = Any
Info: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]
# Keyword arguments of environments and agents.
Arguments: TypeAlias = dict[str, Any]

AnySpace: TypeAlias = gym.Space[Any]
AnyEnv: TypeAlias = gym.Env[Any, Any]
AnyVectorEnv: TypeAlias = gym.vector.VectorEnv[Any, Any, Any]


def row_of(batch: Observation, row: int) -> Observation:
    """Return a copy of one row of a batched observation."""
    if isinstance(batch, dict):
        return {key: row_of(part, row) for key, part in batch.items()}
    value = batch[row]
    return value.copy() if isinstance(value, np.ndarray) else value


def rows_of(batch: Observation, rows: Rows) -> list[Observation]:
    """Return rows of a batch as views, one value or dictionary each; do not write to the batch afterwards.

    Args:
        batch: An array or a dictionary of arrays, [rows, ...].
        rows: Row numbers; int64 [n].
    """
    if not isinstance(batch, dict):
        return list(batch[rows])
    columns = [rows_of(part, rows) for part in batch.values()]
    return [dict(zip(batch, values, strict=True)) for values in zip(*columns, strict=True)]


def array_of(actions: object) -> Array:
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


def clone(state: Mapping[str, object]) -> State:
    """Return a deep copy of nested containers, with tensors cloned."""
    return {key: _cloned(value) for key, value in state.items()}


def _cloned(value: object) -> object:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _cloned(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cloned(part) for part in value)
    return value
