"""Splits and checks of samples, and the data set that is made of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import combinations
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.validation import short
from mtl_gym.data.copies import fingerprints
from mtl_gym.data.doors.dealing import deal
from mtl_gym.data.doors.samples import Categories, Codes, Samples
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.split import SPLITS, Split

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splitting:
    """Shares and seed by which missing splits are drawn from the training rows.

    Attributes:
        validation: Validation share of each class, if the user has no validation split.
        test: Test share of each class, if the user has no test split.
        seed: Seed of the draw.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for shares or seeds that are not possible."""
        for name, share in (("validation", self.validation), ("test", self.test)):
            if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1:
                raise ValueError(f"{name}={short(share)} is not possible; it takes a share above 0 and below 1")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation={self.validation} and test={self.test} leave no training rows; lower them")
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise ValueError(f"seed={short(self.seed)} is not possible; it takes a whole number of 0 or more")


def assemble(name: str, samples: Samples, splitting: Splitting, normalise: bool) -> dict[str, Any]:
    """Return the arguments of a `MultiTaskDataset` that holds the samples.

    Splits that the user has are kept as they are. A missing one is drawn from the training rows, with its share of each
    class of each task; equal inputs stay in one split, also those of different tasks.

    Raises:
        ValueError: If a task has one class only, a class is too rare to split or has no training row, or a task is
            absent from a split; the message names the task, the class and the remedy.
    """
    where = f"data set {name!r}"
    labels = _labels_by_task(where, samples)
    split = _all_splits(where, samples, labels, _units(samples.x)[samples.row], splitting)
    _check_classes(where, samples, labels, split)
    task, row = torch.from_numpy(samples.task.codes), torch.from_numpy(samples.row)
    parts = {}
    for position, split_name in enumerate(SPLITS):
        chosen = torch.from_numpy(np.flatnonzero(split == position))
        parts[split_name] = Split(samples.x[row[chosen]], task[chosen], torch.from_numpy(labels.codes)[chosen])
    x = parts["train"].x
    mean, std = statistics(x, per_channel=x.ndim in (2, 4)) if normalise else (None, None)
    return {
        "name": name,
        "splits": parts,
        "task_names": samples.task.names,
        "class_names": labels.names,
        "mean": mean,
        "std": std,
    }


def _units(x: Tensor) -> Codes:
    """Number the distinct inputs, where 0.0 and -0.0 are equal; int64 `[inputs]`."""
    keys = fingerprints(x.numpy())
    _, first, unit = np.unique(fingerprints((x + 0).numpy()), return_index=True, return_inverse=True)
    # Ordered by the bytes as they are, so that draws depend on them alone.
    return np.unique(keys[first][unit], return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Labels:
    """Labels numbered within each task: codes int64 `[samples]`, and the class names of each task."""

    codes: Codes
    names: tuple[tuple[str, ...], ...]


def _labels_by_task(where: str, samples: Samples) -> _Labels:
    """Number the classes that occur in each task from 0, in the order of their names."""
    codes, names = np.empty_like(samples.label.codes), []
    for task, task_name in enumerate(samples.task.names):
        own = samples.task.codes == task
        found, codes[own] = np.unique(samples.label.codes[own], return_inverse=True)
        names.append(tuple(samples.label.names[code] for code in found))
        if len(found) == 1:
            raise ValueError(
                f"{where}: {samples.label_source} has the one class {names[-1][0]!r} in all {own.sum()} rows of task "
                f"{task_name!r}, so that there is nothing to learn; drop the task or take other labels"
            )
    return _Labels(codes, tuple(names))


def _all_splits(where: str, samples: Samples, labels: _Labels, unit: Codes, splitting: Splitting) -> Codes:
    """Return the split of each sample after the missing ones were drawn from the training rows."""
    missing = [position for position in (1, 2) if not (samples.split == position).any()]
    if len(missing) < 2:
        _tell_copies(where, samples.split, unit)
    if not missing:
        return samples.split
    train = np.flatnonzero(samples.split == 0)
    cell = _cells(samples.task, labels)[train]
    _check_rare(where, samples, labels, train, len(missing) + 1)
    shares = {position: (splitting.validation, splitting.test)[position - 1] for position in missing}
    split = samples.split.copy()
    split[train] = deal(cell, unit[train], shares, np.random.default_rng(splitting.seed))
    return split


def _cells(task: Categories, labels: _Labels) -> Codes:
    """Number the classes of all tasks; int64 `[samples]`."""
    return np.unique(task.codes * (int(labels.codes.max()) + 1) + labels.codes, return_inverse=True)[1]


def _check_rare(where: str, samples: Samples, labels: _Labels, rows: Codes, needed: int) -> None:
    for task, names in enumerate(labels.names):
        counts = np.bincount(labels.codes[rows][samples.task.codes[rows] == task], minlength=len(names))
        rarest = int(np.where(counts, counts, needed).argmin())  # classes without training rows are told later
        if 0 < counts[rarest] < needed:
            raise ValueError(
                f"{where}, task {samples.task.names[task]!r}: class {names[rarest]!r} of {samples.label_source} has "
                f"{counts[rarest]} row(s) to split, but needs {needed}, one for each split; add rows, drop the class "
                "or merge it with another"
            )


def _check_classes(where: str, samples: Samples, labels: _Labels, split: Codes) -> None:
    """Check that every task is in every split, and every class in training."""
    for task, names in enumerate(labels.names):
        own = samples.task.codes == task
        for position, name in enumerate(SPLITS):
            if not (own & (split == position)).any():
                raise ValueError(
                    f"{where}: task {samples.task.names[task]!r} has no row in {name!r}, but every task needs rows in "
                    "every split, and equal inputs share one; add rows there or drop the task"
                )
        counts = np.bincount(labels.codes[own & (split == 0)], minlength=len(names))
        if not counts.all():
            absent = int(counts.argmin())
            raise ValueError(
                f"{where}, task {samples.task.names[task]!r}: class {names[absent]!r} of {samples.label_source} has "
                f"{(own & (labels.codes == absent)).sum()} row(s) and none for training, so it cannot be learned; drop "
                "its rows or move some to 'train'"
            )


def _tell_copies(where: str, split: Codes, unit: Codes) -> None:
    """Log a warning if inputs of a split are also in one that is used before it."""
    units = {name: unit[split == position] for position, name in enumerate(SPLITS)}
    for earlier, later in combinations(SPLITS, 2):
        copies = int(np.isin(units[later], units[earlier]).sum())
        if copies:
            _LOG.warning(
                "%s: %d %s rows have inputs that are %s inputs as well; results on them are too good. "
                "Drop them from %r.",
                where,
                copies,
                later,
                {"train": "training"}.get(earlier, earlier),
                earlier,
            )
