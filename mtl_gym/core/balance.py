"""Balance of the classes of each task: samples drawn equally often, and weights of answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.rows import Rows


def balanced_rows(task: Rows, label: Rows) -> Rows:
    """Return sample numbers that hold every class of a task as often as its largest; int64 [n].

    Args:
        task: Task of each sample; int64 [samples].
        label: Class of each sample; int64 [samples].

    Example:
        >>> balanced_rows(np.zeros(4, int), np.array([0, 0, 0, 1]))
        array([0, 1, 2, 3, 3, 3])
    """
    groups = [[np.flatnonzero(own & (label == one)) for one in np.unique(label[own])] for own in _tasks(task)]
    drawn = [np.resize(rows, max(map(len, classes))) for classes in groups for rows in classes]
    return np.concatenate(drawn)


def class_weights(task: Rows, label: Rows) -> NDArray[np.float64]:
    """Return the weight of each sample that gives all classes of a task equal weight; float64 [samples].

    The weights of a task sum to its number of samples.

    Example:
        >>> class_weights(np.zeros(4, int), np.array([0, 0, 0, 1])).round(2)
        array([0.67, 0.67, 0.67, 2.  ])
    """
    weight = np.zeros(len(task))
    for own in _tasks(task):
        classes, place, counts = np.unique(label[own], return_inverse=True, return_counts=True)
        weight[own] = own.sum() / (len(classes) * counts[place])
    return weight


def _tasks(task: Rows) -> list[NDArray[np.bool_]]:
    return [task == one for one in np.unique(task)]
