"""Parts of the state of several runs side by side, and the state that parts make.

A tensor belongs to all runs together if a single run has it in the same shape. Otherwise it has an axis of rows, which
follow one another, run by run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def part_of(whole: Any, like: Any, run: int, runs: int, rows: int) -> Any:
    """Return the part of one run.

    Args:
        whole: State of all runs: tensors and plain values in dictionaries and lists.
        like: State of a single run of the same kind, which may lack what is there only after some steps.
        run: Number of the run.
        runs: Number of runs.
        rows: Number of rows of all runs.

    Example:
        >>> shared = {"shared": torch.ones(2)}
        >>> part_of({"rows": torch.arange(4), **shared}, {"rows": torch.zeros(2), **shared}, run=1, runs=2, rows=4)
        {'rows': tensor([2, 3]), 'shared': tensor([1., 1.])}
    """
    if isinstance(whole, Tensor):
        axis = _axis_of_rows(whole, like, rows)
        return whole if axis is None else whole.chunk(runs, axis)[run].clone()
    if isinstance(whole, dict):
        there = like if isinstance(like, dict) else {}
        return {key: part_of(value, there.get(key), run, runs, rows) for key, value in whole.items()}
    if isinstance(whole, (list, tuple)):
        alike = list(like) if isinstance(like, (list, tuple)) else []
        if len(whole) == (len(alike) * runs if alike else rows) and runs > 1:
            each = len(whole) // runs
            return type(whole)(whole[run * each : (run + 1) * each])
        alike += [None] * (len(whole) - len(alike))
        return type(whole)(part_of(*pair, run, runs, rows) for pair in zip(whole, alike, strict=False))
    return whole


def merged(parts: Sequence[Any], like: Any, rows: int) -> Any:
    """Return the state of all runs, the inverse of `part_of`.

    Args:
        parts: State of each run.
        like: A state of as many runs, which may lack what is there only after some steps.
        rows: Number of rows of all runs.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        axis = _axis_of_rows(first, like, rows // len(parts))
        return first if axis is None else torch.cat(list(parts), axis)
    if isinstance(first, dict):
        there = like if isinstance(like, dict) else {}
        return {key: merged([part[key] for part in parts], there.get(key), rows) for key in first}
    if isinstance(first, (list, tuple)):
        alike = list(like) if isinstance(like, (list, tuple)) else []
        if len(first) * len(parts) == (len(alike) or rows) and len(parts) > 1:
            return type(first)(value for part in parts for value in part)
        alike += [None] * (len(first) - len(alike))
        columns = zip(zip(*parts, strict=True), alike, strict=False)
        return type(first)(merged(values, there, rows) for values, there in columns)
    return first


def _axis_of_rows(tensor: Tensor, other: Any, rows: int) -> int | None:
    """Return the axis of so many rows, along which a tensor differs from the other if that is there; or None."""
    known = isinstance(other, Tensor) and other.ndim == tensor.ndim
    axes = [axis for axis in range(tensor.ndim) if not known or tensor.shape[axis] != other.shape[axis]]
    return next((axis for axis in axes if tensor.shape[axis] == rows), None)
