"""Samples of data sets of the library `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mtl_gym.core.extras import needed_by
from mtl_gym.core.state.checkpoint import said
from mtl_gym.core.validation import short
from mtl_gym.data.arrays import described
from mtl_gym.data.doors.columns import Column, check_columns, input_columns
from mtl_gym.data.doors.frame import Roles, read_columns
from mtl_gym.data.doors.samples import SPLIT_NAMES, Categories, Codes, Samples, check_training, distinct_splits
from mtl_gym.data.split import SPLITS

_UNLABELLED = -1


def read_huggingface(name: str, dataset: object, roles: Roles, splits: Mapping[str, str] | None) -> Samples:
    """Return the samples of a `Dataset` or `DatasetDict`, or of one that `save_to_disk` wrote.

    Args:
        name: Name of the data set.
        dataset: The object, or the folder that holds it.
        roles: Columns by their use.
        splits: Name in `dataset` of each split, if the names differ or some are to be left out.

    Raises:
        MissingExtraError: If `datasets` is not installed.
        ValueError: If it is another object, a split or column does not exist, or a value is missing or of the wrong
            kind.
    """
    where = f"data set {name!r}"
    parts = _parts(where, dataset, splits)
    split = np.repeat(distinct_splits(where, list(parts)), [len(part) for part in parts.values()])
    check_training(where, split)
    used = _used_columns(where, parts, roles)
    tables = [_read(f"{where}, split {split!r}", part, used) for split, part in parts.items()]
    columns = {column: _stacked([table[column] for table in tables]) for column in used}
    named = {column: _class_names(where, column, parts) for column in roles.used}
    known = {}
    for column, names in named.items():
        if names is not None:
            columns[column] = _with_missing(columns[column])
            _check_known(where, column, columns[column], names)
            found, codes = np.unique(np.nan_to_num(columns[column]).astype(np.int64), return_inverse=True)
            known[column] = Categories(codes.astype(np.int64), tuple(names[code] for code in found))
            if roles.task is not None:
                _check_labelled(where, column, columns[column], split)
    return read_columns(name, columns, split, roles, known)


@contextmanager
def _readable(where: str, wrong: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged files and images raise a dozen types of errors
        raise ValueError(f"{where}: {wrong} ({said(error)}); correct it or make it again") from error


def _parts(where: str, dataset: Any, splits: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the `Dataset` of each split, by the name that tells the split."""
    with needed_by("MultiTaskDataset.from_huggingface"):
        import datasets
    if isinstance(dataset, str | os.PathLike):
        with _readable(where, f"{os.fspath(dataset)!r} holds no data set"):
            dataset = datasets.load_from_disk(os.fspath(dataset))
    if isinstance(dataset, datasets.Dataset):
        dataset = {"train": dataset}
    elif not isinstance(dataset, Mapping) or not all(isinstance(part, datasets.Dataset) for part in dataset.values()):
        raise ValueError(
            f"{where}: dataset is {described(dataset)}, but must be a Dataset, a DatasetDict or a folder written by "
            "save_to_disk; load streams without streaming=True"
        )
    if splits is None:
        others = [str(part) for part in dataset if str(part).lower() not in SPLIT_NAMES]
        if others:
            raise ValueError(
                f"{where} has the splits {', '.join(dataset)}, and {others[0]!r} is none of train, validation, test; "
                "tell which to take: splits={'train': ..., 'test': ...}"
            )
        return dict(dataset)
    if not isinstance(splits, Mapping):
        raise ValueError(f"{where}: splits={short(splits)} is not possible; it takes a mapping {{'train': ...}}")
    absent = [part for part in splits.values() if part not in dataset]
    if absent:
        raise ValueError(f"{where} has no split {absent[0]!r}; its splits are {', '.join(dataset)}")
    return {name: dataset[part] for name, part in splits.items()}


def _used_columns(where: str, parts: Mapping[str, Any], roles: Roles) -> list[str]:
    """Return the columns to read; images and texts that nobody uses are never decoded."""
    there = {f"{where}, split {split!r}": part.column_names for split, part in parts.items()}
    for place, names in there.items():
        roles.check(place, names)
    first, names = next(iter(there.items()))
    used = [*input_columns(first, roles.inputs, roles.used, names), *roles.used]
    for place, names in there.items():
        check_columns(place, used, names)
    return used


def _read(where: str, part: Any, used: list[str]) -> dict[str, Column]:
    """Return the values of columns; None stays None, and arrays of different shapes stay apart."""
    with _readable(where, "the rows cannot be read"):
        chosen = part.select_columns(used)
        read: dict[str, Any] = chosen.with_format("numpy")[:]
        return {column: _column(chosen, column, values) for column, values in read.items()}


def _column(part: Any, column: str, values: Any) -> Column:
    array = np.asarray(values) if not isinstance(values, list) else _objects(values)
    if array.ndim == 1 and array.dtype.kind in "fO" and part.data.column(column).null_count:
        return _objects(part.with_format(None)[column][:])
    return array


def _objects(values: list[Any]) -> Column:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _stacked(parts: list[Column]) -> Column:
    """Concatenate a column of several splits; rows of different shapes stay apart."""
    if len({(part.shape[1:], part.dtype.kind) for part in parts}) == 1:
        return np.concatenate(parts)
    return np.concatenate([_objects(list(part)) for part in parts])


def _class_names(where: str, column: str, parts: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a `ClassLabel` column, which are those of all splits; None for other columns."""
    names = {split: getattr(part.features[column], "names", None) for split, part in parts.items()}
    (first, found), *others = names.items()
    for split, other in others:
        if other != found:
            raise ValueError(
                f"{where}: column {column!r} has the classes {short(found)} in split {first!r} and {short(other)} in "
                f"{split!r}, so that numbers of classes differ; give both the same, as with "
                "dataset.align_labels_with_mapping or cast_column"
            )
    return found


def _with_missing(codes: Column) -> Column:
    """Return the numbers of a `ClassLabel` column with NaN for no label, which is None or -1; float64 `[rows]`."""
    numbers = np.array([np.nan if code is None else code for code in codes.tolist()], np.float64)
    return np.where(numbers == _UNLABELLED, np.nan, numbers)


def _check_known(where: str, column: str, codes: Column, names: list[str]) -> None:
    strange = np.flatnonzero((codes < 0) | (codes >= len(names)))
    if len(strange):
        raise ValueError(
            f"{where}: column {column!r} holds {codes[strange[0]]:g} in row {strange[0]}, and its {len(names)} classes "
            f"are numbered from 0 to {len(names) - 1}; correct the values or the names of its ClassLabel"
        )


def _check_labelled(where: str, column: str, codes: Column, split: Codes) -> None:
    absent = np.flatnonzero(np.isnan(codes))
    if len(absent):
        place = SPLITS[split[absent[0]]]
        raise ValueError(
            f"{where}, split {place!r}: column {column!r} is -1 or None, no label, in {len(absent)} row(s); drop them, "
            "or leave the split out with splits={...}, so that it is drawn from the training rows"
        )
