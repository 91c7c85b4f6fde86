"""Cutting rows into splits so that every class is in each of them."""

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
