"""Convert dataclasses of arrays to states of tensors, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.rows import State

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Arrays = TypeVar("Arrays", bound=DataclassInstance)
else:
    Arrays = TypeVar("Arrays")


def tensors_of(arrays: DataclassInstance) -> State:
    """Return copies of the arrays of a dataclass as tensors, by field; plain values and None stay as they are.

    Example:
        >>> from dataclasses import make_dataclass
        >>> Counts = make_dataclass("Counts", ["seen", "last"])
        >>> state = tensors_of(Counts(np.array([1, 2]), last=3))
        >>> state, arrays_of(Counts, state)
        ({'seen': tensor([1, 2]), 'last': 3}, Counts(seen=array([1, 2]), last=3))
    """
    values = vars(arrays)
    return {field.name: _tensor(values[field.name]) for field in fields(arrays)}


def arrays_of(kind: type[Arrays], state: State) -> Arrays:
    """Return a dataclass made of copies of the tensors of a state, the inverse of `tensors_of`.

    Raises:
        TypeError: If a field is missing from the state, or the state has others.
    """
    return kind(**{name: _array(value) for name, value in state.items()})


def _tensor(value: object) -> object:
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _array(value: object) -> object:
    return value.numpy().copy() if isinstance(value, Tensor) else value
