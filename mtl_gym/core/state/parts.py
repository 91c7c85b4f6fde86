"""Parts of the state of several runs side by side, and the state that parts make.

A tensor or list belongs to all runs together if a single run has it in the same shape. Otherwise it has an axis of
rows, which follow one another, run by run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from mtl_gym.core.state.structure import Maybe


def part_of(whole: Any, like: Any, run: int, runs: int, rows: int) -> Any:
    """Return the part of one run.

    Args:
        whole: State of all runs: tensors and plain values in dictionaries and lists.
        like: State of a single run of the same kind, with all tensors and lists, or the model of a state.
        run: Number of the run.
        runs: Number of runs.
        rows: Number of rows of all runs.

    Raises:
        ValueError: If `like` lacks something, so that nothing tells to whom it belongs.

    Example:
        >>> shared = {"shared": torch.ones(2)}
        >>> part_of({"rows": torch.arange(4), **shared}, {"rows": torch.zeros(2), **shared}, run=1, runs=2, rows=4)
        {'rows': tensor([2, 3]), 'shared': tensor([1., 1.])}
    """
    if isinstance(whole, Tensor):
        axis = _axis_of_rows(whole, like, rows)
        return whole if axis is None else whole.chunk(runs, axis)[run].clone()
    if isinstance(whole, dict):
        return {key: part_of(value, _at(like, key), run, runs, rows) for key, value in whole.items()}
    if isinstance(whole, (list, tuple)):
        alike, each = _listed(whole, like), len(whole) // runs
        if each and len(whole) == len(alike) * runs and runs > 1:
            return type(whole)(whole[run * each : (run + 1) * each])
        return type(whole)(part_of(*pair, run, runs, rows) for pair in _pairs(whole, alike))
    return whole


def merged(parts: Sequence[Any], like: Any, rows: int) -> Any:
    """Return the state of all runs, the inverse of `part_of`.

    Args:
        parts: State of each run.
        like: A state of as many runs, with all tensors and lists, or the model of a state.
        rows: Number of rows of all runs.

    Raises:
        ValueError: As `part_of`.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        axis = _axis_of_rows(first, like, rows // len(parts))
        return first if axis is None else torch.cat(list(parts), axis)
    if isinstance(first, dict):
        return {key: merged([part[key] for part in parts], _at(like, key), rows) for key in first}
    if isinstance(first, (list, tuple)):
        alike = _listed(first, like)
        if first and len(first) * len(parts) == len(alike) and len(parts) > 1:
            return type(first)(value for part in parts for value in part)
        columns = list(zip(*parts, strict=True))
        return type(first)(merged(values, there, rows) for values, there in _pairs(columns, alike))
    return first


def _axis_of_rows(tensor: Tensor, other: Any, rows: int) -> int | None:
    """Return the axis of so many rows, along which a tensor differs from the other, or None."""
    if not isinstance(other, Tensor) or other.ndim != tensor.ndim:
        raise _unknown(f"a tensor of shape {list(tensor.shape)}")
    axes = [axis for axis in range(tensor.ndim) if tensor.shape[axis] != other.shape[axis]]
    return next((axis for axis in axes if tensor.shape[axis] == rows), None)


def _at(like: Any, key: Any) -> Any:
    found = like.get(key) if isinstance(like, dict) else None
    return found.model if isinstance(found, Maybe) else found


def _listed(given: Sequence[Any], like: Any) -> Sequence[Any]:
    if not isinstance(like, (list, tuple)):
        raise _unknown(f"a list of {len(given)}")
    return like


def _pairs(given: Sequence[Any], like: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    if len(given) != len(like):
        raise _unknown(f"a list of {len(given)}, but has one of {len(like)}")
    return zip(given, like, strict=True)


def _unknown(what: str) -> ValueError:
    return ValueError(f"The model of the state lacks {what}: let `_model` have all that a state may have.")
