"""Checks of batched actions."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import MultiBinary

from mtl_gym.core.rows import AnySpace, Array, Flags, Rows, array_of
from mtl_gym.core.validation import short


def checked(actions: object, space: AnySpace, single: AnySpace) -> Array:
    """Return actions as an array of the space's dtype.

    Args:
        actions: Arrays, tensors or lists, one action per row.
        space: The batched action space.
        single: The action space of one row.

    Raises:
        ValueError: If they are of another shape or kind, or one lies outside the action space.
    """
    array = array_of(actions)
    # SB3's policies give binary actions as floats.
    whole = np.issubdtype(space.dtype, np.integer) and not isinstance(single, MultiBinary)
    kinds = "biu" if whole else "biuf"
    if array.shape != space.shape or array.dtype.kind not in kinds:
        raise ValueError(
            f"actions of shape {array.shape} and dtype {array.dtype} do not fit: give one action of {short(single)} "
            f"per row, {space.shape} of {space.dtype}."
        )
    with np.errstate(invalid="ignore", over="ignore"):  # NaN as a whole number, which is refused below
        cast = array.astype(space.dtype, copy=False)
    if not space.contains(cast) or (np.issubdtype(space.dtype, np.integer) and (cast != array).any()):
        row = next(i for i, action in enumerate(array) if not single.contains(action))
        raise ValueError(f"action {array[row]} in row {row} lies outside {short(single)}.")
    return cast


def nearest_valid(actions: Rows, masks: Flags) -> Rows:
    """Return each choice, or the next valid one above it, counting on from 0 after the last; int64 [rows].

    Args:
        actions: Choices; int64 [rows].
        masks: Valid choices; bool [rows, choices], at least one in each row.

    Example:
        >>> masks = np.array([[True, False, True], [True, False, False]])
        >>> nearest_valid(np.array([1, 1]), masks)
        array([2, 0])
    """
    choices = masks.shape[1]
    onwards = (actions[:, None] + np.arange(choices)) % choices
    return (actions + np.take_along_axis(masks, onwards, 1).argmax(1)) % choices
