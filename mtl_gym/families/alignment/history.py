"""Assignments over generations, and measures of module sharing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.families.alignment.joint import Index


class AssignmentHistory:
    """Assignments of one run over its generations.

    Args:
        generations: Maximum number of generations.
        locations: Number of locations, L.

    Attributes:
        length: Number of assignments so far, including the initial one.
    """

    def __init__(self, generations: int, locations: int) -> None:
        self.length = 0
        self._assignment = np.zeros((generations + 1, locations), np.int32)

    @property
    def generations(self) -> int:
        """Maximum number of generations."""
        return len(self._assignment) - 1

    @classmethod
    def of(cls, assignment: NDArray[np.int32], generations: int) -> AssignmentHistory:
        """Restore a history from its assignments; [length, locations]."""
        history = cls(generations, assignment.shape[1])
        for one in assignment:
            history.add(one)
        return history

    def add(self, assignment: NDArray[np.integer]) -> None:
        """Record the assignment of one more generation; [locations]."""
        self._assignment[self.length] = assignment
        self.length += 1

    @property
    def assignment(self) -> NDArray[np.int32]:
        """Assignments so far; int32 [length, locations]."""
        return self._assignment[: self.length]

    def modules_used(self) -> Index:
        """Count the modules in use; int64 [length]."""
        return modules_used(self.assignment)


def modules_used(assignment: NDArray[np.integer]) -> Index:
    """Count the modules in use; [..., locations] -> int64 [...].

    Example:
        >>> modules_used(np.array([[0, 2, 2], [1, 1, 1]]))
        array([2, 1])
    """
    return 1 + (np.diff(np.sort(assignment, -1), axis=-1) != 0).sum(-1)


def used_by(assignment: NDArray[np.integer], architecture: Index, modules: int) -> NDArray[np.bool_]:
    """Return the modules that each architecture uses; bool [architectures, modules].

    Args:
        assignment: Module of each location; [locations].
        architecture: Architecture of each location; int64 [locations].
        modules: Number of modules.

    Example:
        >>> used_by(np.array([0, 2, 2]), np.array([0, 0, 1]), 3).astype(int).tolist()
        [[1, 0, 1], [0, 0, 1]]
    """
    used = np.zeros((int(architecture.max()) + 1, modules), bool)
    used[architecture, assignment] = True
    return used


def sharing_between(assignment: NDArray[np.integer], layer: Index) -> NDArray[np.float64]:
    """Return the rate at which locations of two layers share a module, divided by the rate over all layers.

    Rates are shares of pairs of different locations.

    Args:
        assignment: Module of each location; [locations].
        layer: Layer of each location; int64 [locations].

    Returns:
        float64 [layers, layers]; NaN for a layer of one location with itself, or if no module is shared at all.

    Source: MUiR, figure 3b.
    """
    _, module = np.unique(assignment, return_inverse=True)
    counts = np.zeros((int(layer.max()) + 1, int(module.max()) + 1))
    np.add.at(counts, (layer, module), 1)
    size = counts.sum(1)
    same, pairs = counts @ counts.T, np.outer(size, size)
    diagonal = np.arange(len(size))
    same[diagonal, diagonal] -= size
    pairs[diagonal, diagonal] -= size
    with np.errstate(invalid="ignore", divide="ignore"):
        return same / pairs / (same.sum() / pairs.sum())
