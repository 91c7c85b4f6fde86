"""Convert dataclasses of arrays to states of tensors, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from mtl_gym.core.rows import State
from mtl_gym.core.state.checkpoint import to_arrays, to_tensors

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Arrays = TypeVar("Arrays", bound=DataclassInstance)
else:
    Arrays = TypeVar("Arrays")


def tensors_of(arrays: DataclassInstance) -> State:
    """Return copies of the arrays of a dataclass as tensors, by field; None stays None.

    Example:
        >>> import numpy as np
        >>> from dataclasses import make_dataclass
        >>> Counts = make_dataclass("Counts", ["seen"])
        >>> state = tensors_of(Counts(np.array([1, 2])))
        >>> state, arrays_of(Counts, state)
        ({'seen': tensor([1, 2])}, Counts(seen=array([1, 2])))
    """
    values = vars(arrays)
    return {field.name: to_tensors(values[field.name]) for field in fields(arrays)}


def arrays_of(kind: type[Arrays], state: State) -> Arrays:
    """Return a dataclass made of copies of the tensors of a state, the inverse of `tensors_of`.

    Raises:
        TypeError: If a field is missing from the state, or the state has others.
    """
    return kind(**to_arrays(state))
