"""The assignments that a run can begin with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl_gym.core.rows import Flags
from mtl_gym.data import TaskCollection
from mtl_gym.families.alignment.joint import Index, JointModel

STARTS = ("disjoint", "hierarchical", "oracle")


def first_assignment(start: str | Sequence[int], joint: JointModel, data: TaskCollection) -> Index:
    """The module of each location at first; int64 [locations].

    Raises:
        ValueError: If there are too few modules for it, the data's groups are not known, or it does not fit.

    Source: MUiR, section 3.2 ("disjoint"), section 4.1 ("oracle"), section 4.2.3 ("hierarchical").
    """
    if not isinstance(start, str):
        return _given(start, joint)
    places = joint.locations
    if start == "disjoint":
        wanted = np.arange(joint.num_locations)
    elif start == "hierarchical":
        wanted = places.order
    else:
        wanted = _by_group(data, places.architecture, places.order)
    if wanted.max() >= joint.num_modules:
        raise ValueError(
            f"start={start!r} needs {wanted.max() + 1} modules, and there are {joint.num_modules}; "
            "leave modules=None, or begin with another assignment."
        )
    return wanted.astype(np.int64)


def _given(start: Sequence[int], joint: JointModel) -> Index:
    given = np.asarray(start)
    fits = given.shape == (joint.num_locations,) and given.dtype.kind in "iu"
    if not fits or given.min() < 0 or given.max() >= joint.num_modules:
        raise ValueError(
            f"start={start!r} does not fit: it takes one module, 0 to {joint.num_modules - 1}, for each of the "
            f"{joint.num_locations} locations."
        )
    return given.astype(np.int64)


def _by_group(data: TaskCollection, architecture: Index, order: Index) -> Index:
    if data.groups is None:
        raise ValueError(f"start='oracle' needs data whose groups are known; those of {data.name!r} are not.")
    pairs = np.stack([np.array(data.groups)[architecture], order], 1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def find_groups(assignment: Index, architecture: Index, groups: Sequence[int]) -> Flags:
    """Return the runs in which two locations have one module exactly if their tasks are of one group; bool [runs].

    Args:
        assignment: The module of each location; int64 [runs, locations].
        architecture: The architecture of each location, with one location each; int64 [locations].
        groups: The group of each task.
    """
    return np.array([_finds_groups(one, np.asarray(groups)[architecture]) for one in assignment])


def _finds_groups(assignment: Index, group: Index) -> bool:
    pairs = np.unique(np.stack([group, assignment], 1), axis=0)
    return len(pairs) == len(np.unique(group)) == len(np.unique(assignment))
