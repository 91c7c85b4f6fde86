"""Samples of a pandas frame."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import Self

from mtl_gym.core.validation import short
from mtl_gym.data.arrays import described
from mtl_gym.data.doors.columns import (
    Column,
    Name,
    Names,
    check_columns,
    check_distinct,
    check_present,
    input_columns,
    is_missing,
    joined,
    names_of,
    read_categories,
    read_column_inputs,
)
from mtl_gym.data.doors.samples import Categories, Codes, Samples, check_training, distinct_splits, split_name
from mtl_gym.data.split import SPLITS

if TYPE_CHECKING:
    import pandas

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Roles:
    """Columns of a table by their use.

    Attributes:
        labels: Columns of labels; several columns are one task each.
        task: Column of tasks, if there is one column of labels.
        inputs: Columns of inputs; None for all others.
        split: Column of splits, if there is one.
    """

    labels: list[str]
    task: str | None
    inputs: list[str] | None
    split: str | None

    @classmethod
    def named(cls, label: Names, task: Name | None, inputs: Names | None, split: Name | None = None) -> Self:
        """Return the columns that a user names; numbers of columns count as their text, as in `read_frame`."""
        single = [None if name is None else str(name) for name in (task, split)]
        return cls(names_of(label), single[0], None if inputs is None else names_of(inputs), single[1])

    @property
    def used(self) -> list[str]:
        """Columns that are not inputs."""
        return [*self.labels, *(column for column in (self.task, self.split) if column is not None)]

    def check(self, where: str, there: Sequence[str]) -> None:
        """Raise ValueError if a column does not exist, or tasks are told twice or not at all."""
        check_columns(where, self.used, there)
        check_distinct(where, self.used, "among labels, task and split")
        if not self.labels or (self.task is None) == (len(self.labels) < 2):
            told = f"label={short(self.labels)} and task={short(self.task)}"
            raise ValueError(
                f"{where}: {told} do not tell the tasks; name one column of labels and a column of tasks, or several "
                "columns of labels and task=None, where each column is a task"
            )


def read_frame(name: str, frame: object, roles: Roles) -> Samples:
    """Return the samples of a frame, or of one frame per split.

    Raises:
        ValueError: If it is no frame, a column does not exist, or a value is missing or of the wrong kind.
    """
    where = f"data set {name!r}"
    table, split = _one_table(where, frame)
    roles.check(where, [str(column) for column in table.columns])
    columns = {str(column): table[column].to_numpy() for column in table.columns}
    if split is None:
        split = np.zeros(len(table), np.int64) if roles.split is None else _splits(where, columns, roles.split)
    elif roles.split is not None:
        raise ValueError(f"{where}: there is a frame per split and a column of splits; use one of them")
    return read_columns(name, columns, split, roles)


def read_columns(
    name: str, columns: Mapping[str, Column], split: Codes, roles: Roles, known: Mapping[str, Categories] | None = None
) -> Samples:
    """Return the samples of a table of checked columns.

    Args:
        name: Name of the data set.
        columns: Values of each column, `[rows]` or `[rows, ...]`.
        split: Split of each row, int64 `[rows]`.
        roles: Columns by their use.
        known: Categories of columns that have been read already.
    """
    where = f"data set {name!r}"
    inputs = input_columns(where, roles.inputs, roles.used, list(columns))
    x = read_column_inputs(where, {column: columns[column] for column in inputs})
    known = known or {}
    if roles.task is not None:
        task = known.get(roles.task) or read_categories(where, roles.task, columns[roles.task])
        (label,) = roles.labels
        labels = known.get(label) or read_categories(where, label, columns[label])
        return Samples(x, np.arange(len(x)), task, labels, split, f"column {label!r}")
    rows = [np.flatnonzero(~is_missing(columns[label])) for label in roles.labels]
    _tell_unlabelled(where, roles.labels, rows, len(x))
    read = [
        Categories(known[label].codes[row], known[label].names)
        if label in known
        else read_categories(where, label, columns[label][row])
        for label, row in zip(roles.labels, rows, strict=True)
    ]
    task = Categories(np.repeat(np.arange(len(rows)), [len(row) for row in rows]), tuple(roles.labels))
    row = np.concatenate(rows)
    return Samples(x, row, task, joined(read), split[row], "its column of labels")


def _tell_unlabelled(where: str, labels: Sequence[str], rows: Sequence[Codes], total: int) -> None:
    for label, row in zip(labels, rows, strict=True):
        if not len(row):
            raise ValueError(f"{where}: column {label!r} has no value in any of {total} rows; drop it from label")
        if len(row) < total:
            _LOG.info("%s: %d of %d rows have no label in column %r", where, total - len(row), total, label)


def _one_table(where: str, frame: Any) -> tuple[pandas.DataFrame, Codes | None]:
    """Return one frame and, if the user gave a frame per split, the split of each row."""
    import pandas

    parts = frame if isinstance(frame, Mapping) else {"train": frame}
    wrong = [part for part in parts.values() if not isinstance(part, pandas.DataFrame)]
    if wrong or not parts:
        raise ValueError(
            f"{where}: frame is {described(wrong[0] if wrong else frame)}, but must be a pandas DataFrame or a "
            "mapping {'train': frame, ...}"
        )
    if not isinstance(frame, Mapping):
        return _filled(where, frame), None
    positions = distinct_splits(where, list(parts))
    _check_alike(where, parts)
    split = np.repeat(positions, [len(part) for part in parts.values()])
    check_training(where, split)
    return _filled(where, pandas.concat(parts.values(), ignore_index=True)), split


def _filled(where: str, table: pandas.DataFrame) -> pandas.DataFrame:
    names = table.columns.map(str)  # 1 and "1" have one name
    if names.has_duplicates:
        raise ValueError(f"{where}: column {names[names.duplicated()][0]!r} occurs twice; rename one")
    if not len(table):
        raise ValueError(f"{where}: the frame has no rows")
    return table


def _check_alike(where: str, parts: Mapping[str, pandas.DataFrame]) -> None:
    first, *others = parts
    for other in others:
        odd = sorted({*map(str, parts[first].columns)} ^ {*map(str, parts[other].columns)})
        if odd:
            raise ValueError(
                f"{where}: column {odd[0]!r} is in only one of the splits {first!r} and {other!r}; give both "
                "the same columns"
            )


def _splits(where: str, columns: Mapping[str, Column], column: str) -> Codes:
    """Return the split of each row, which a column names; int64 `[rows]`."""
    values = columns[column]
    check_present(where, column, values)
    for value in values:
        if not isinstance(value, str):
            split_name(f"{where}: column {column!r}", value)
    named = {value: split_name(f"{where}: column {column!r}", value) for value in dict.fromkeys(values)}
    if "train" not in named.values():
        raise ValueError(f"{where}: column {column!r} has no training rows; name them 'train'")
    return np.array([SPLITS.index(named[value]) for value in values], np.int64)
