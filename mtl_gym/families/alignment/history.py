"""Which module was where, generation after generation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.families.alignment.joint import Index


class AssignmentHistory:
    """The assignments of one run over its generations.

    Args:
        generations: At most.
        locations: L.

    Attributes:
        length: Assignments so far, that of the beginning included.
    """

    def __init__(self, generations: int, locations: int) -> None:
        self.length = 0
        self._assignment = np.zeros((generations + 1, locations), np.int32)

    @classmethod
    def of(cls, assignment: NDArray[np.int32], generations: int) -> AssignmentHistory:
        """A history that goes on after these assignments, [length, locations]."""
        history = cls(generations, assignment.shape[1])
        history.length = len(assignment)
        history._assignment[: len(assignment)] = assignment
        return history

    def add(self, assignment: Index) -> None:
        """Keep the assignment of one more generation; int64 [locations]."""
        self._assignment[self.length] = assignment
        self.length += 1

    @property
    def assignment(self) -> NDArray[np.int32]:
        """[generations so far + 1, locations]."""
        return self._assignment[: self.length]

    def modules_used(self) -> Index:
        """How many modules had a location; int64 [generations so far + 1]."""
        return modules_used(self.assignment)


def modules_used(assignment: NDArray[np.integer]) -> Index:
    """How many modules have a location; [..., locations] -> int64 [...].

    Example:
        >>> modules_used(np.array([[0, 2, 2], [1, 1, 1]]))
        array([2, 1])
    """
    return 1 + (np.diff(np.sort(assignment, -1), axis=-1) != 0).sum(-1)


def used_by(assignment: NDArray[np.integer], architecture: Index, modules: int) -> NDArray[np.bool_]:
    """Which architectures use which modules, from both by location; bool [architectures, modules].

    Example:
        >>> used_by(np.array([0, 2, 2]), np.array([0, 0, 1]), 3).astype(int).tolist()
        [[1, 0, 1], [0, 0, 1]]
    """
    used = np.zeros((int(architecture.max()) + 1, modules), bool)
    used[architecture, assignment] = True
    return used


def sharing_between(assignment: NDArray[np.integer], layer: Index) -> NDArray[np.float64]:
    """How many times likelier than by chance two locations of a pair of layers have the same module.

    By chance means by the share of all pairs of different locations that have the same module.

    Args:
        assignment: The module of each location; [locations].
        layer: The layer of each location; int64 [locations].

    Returns:
        float64 [layers, layers]; NaN for a layer of one location with itself, or where no module is shared at all.

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
