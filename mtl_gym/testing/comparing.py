"""Equality of observations and states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor


def same(left: object, right: object) -> bool:
    """Return whether two observations or step results are equal."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(np.array_equal(np.asarray(left), np.asarray(right)))


def equal_states(left: object, right: object) -> bool:
    """Return whether two states are equal: nested dictionaries and lists of tensors and plain values."""
    pairs = list(_leaves(left, right))
    return all(_equal(*pair) for pair in pairs)


def _leaves(left: object, right: object) -> Iterator[tuple[object, object]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping) and left.keys() == right.keys():
        for key in left:
            yield from _leaves(left[key], right[key])
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        for one, other in zip(left, right, strict=True):
            yield from _leaves(one, other)
    else:
        yield left, right


def _equal(left: object, right: object) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.shape == right.shape and bool(torch.equal(torch.nan_to_num(left), torch.nan_to_num(right)))
    return left == right or (left != left and right != right)
