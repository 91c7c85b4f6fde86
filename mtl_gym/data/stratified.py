"""Cutting rows into splits, and drawing some of them, so that classes keep their shares."""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def stratified_rows(
    labels: npt.NDArray[np.int64], validation: float, test: float, generator: np.random.Generator
) -> dict[str, Rows]:
    """Deals the rows of each class to train, validation and test.

    Args:
        labels: Class of each row, int64 ``[rows]``; every class has at least 3 rows.
        validation: Share of each class for validation, above 0.
        test: Share of each class for test, above 0; both shares together are below 1.
        generator: Decides which row goes where.

    Returns:
        The rows of each split, ascending, int64. Every class has at least one row in each.
    """
    dealt: dict[str, list[Rows]] = {"train": [], "validation": [], "test": []}
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        held_out = split_sizes(len(rows), validation, test)
        parts = np.split(rows, np.cumsum(held_out))
        for split, part in zip(("validation", "test", "train"), parts, strict=True):
            dealt[split].append(part)
    return {split: np.sort(np.concatenate(parts)) for split, parts in dealt.items()}


def split_sizes(rows: int, validation: float, test: float) -> tuple[int, int]:
    """Numbers of validation and test rows out of ``rows`` >= 3: the nearest that leave no split empty."""
    for_validation = min(max(1, round(validation * rows)), rows - 2)
    for_test = min(max(1, round(test * rows)), rows - for_validation - 1)
    return for_validation, for_test


def proportional_rows(labels: npt.NDArray[np.int64], count: int, generator: np.random.Generator) -> Rows:
    """Draws rows in which every class has the share that it has among all, to within one row.

    Args:
        labels: Class of each row, int64 ``[rows]``.
        count: How many to draw; with ``rows`` or more, all are taken.
        generator: Decides which.

    Returns:
        The rows, ascending, int64.

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
