"""Stratified splits and samples of rows."""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

FOLDS = 5  # number of folds of a data set with a fifth for test


def stratified_rows(
    labels: npt.NDArray[np.int64], validation: float, test: float, generator: np.random.Generator, fold: int = 0
) -> dict[str, Rows]:
    """Split the rows of each class at random into train, validation and test.

    Args:
        labels: Class of each row, int64 ``[rows]``; every class has at least 3 rows.
        validation: Share of each class for validation, above 0.
        test: Share of each class for test, above 0; both shares together are below 1.
        generator: Source of the random split.
        fold: Fold for test, from 0 to below ``1 / test``. Test rows of different folds are disjoint, from generators of
            one state; every class then has at least ``1 / test`` rows.

    Returns:
        Rows of each split, ascending, int64. Every class has at least one row in each.
    """
    dealt: dict[str, list[Rows]] = {"train": [], "validation": [], "test": []}
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        for_validation, for_test = split_sizes(len(rows), validation, test)
        start, end = (round(number * test * len(rows)) for number in (fold, fold + 1))
        held_out = for_validation, end - start if fold else for_test
        parts = np.split(np.roll(rows, -start), np.cumsum(held_out))
        for split, part in zip(("validation", "test", "train"), parts, strict=True):
            dealt[split].append(part)
    return {split: np.sort(np.concatenate(parts)) for split, parts in dealt.items()}


def split_sizes(rows: int, validation: float, test: float) -> tuple[int, int]:
    """Return the numbers of validation and test rows out of ``rows`` >= 3, rounded so that no split is empty."""
    for_validation = min(max(1, round(validation * rows)), rows - 2)
    for_test = min(max(1, round(test * rows)), rows - for_validation - 1)
    return for_validation, for_test


def proportional_rows(labels: npt.NDArray[np.int64], count: int, generator: np.random.Generator) -> Rows:
    """Draw rows in which every class has its share of all rows, to within one row.

    Args:
        labels: Class of each row, int64 ``[rows]``.
        count: Number of rows to draw; if it is ``rows`` or more, all are returned.
        generator: Source of the random draw.

    Returns:
        Drawn rows, ascending, int64.

    Example:
        >>> drawn = proportional_rows(np.repeat([0, 1], [150, 50]), 20, np.random.default_rng(0))
        >>> int((drawn < 150).sum()), int((drawn >= 150).sum())
        (15, 5)
    """
    rows = len(labels)
    if count >= rows:
        return np.arange(rows)
    by_class = np.lexsort((generator.permutation(rows), labels))
    return np.sort(by_class[((np.arange(count) + 0.5) * rows / count).astype(np.int64)])
