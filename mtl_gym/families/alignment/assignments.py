"""Initial assignments of a run, and comparison of assignments with true groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl_gym.core.rows import Flags
from mtl_gym.data import TaskCollection
from mtl_gym.families.alignment.joint import Index, JointModel

STARTS = ("disjoint", "hierarchical", "oracle", "cyclic")


def first_assignment(start: str | Sequence[int], joint: JointModel, data: TaskCollection) -> Index:
    """Return the initial module of each location; int64 [locations].

    Raises:
        ValueError: If it needs more modules or known groups, or a given assignment is invalid.

    Source: MUiR, section 3.2 ("disjoint"), section 4.1 ("oracle"), section 4.2.3 ("hierarchical").
    """
    if not isinstance(start, str):
        return _given(start, joint)
    places = joint.locations
    if start == "disjoint":
        wanted = np.arange(joint.num_locations)
    elif start == "cyclic":
        wanted = np.arange(joint.num_locations) % joint.num_modules
    elif start == "hierarchical":
        wanted = places.order
    else:
        wanted = _by_group(data, places.architecture, places.order)
    if wanted.max() >= joint.num_modules:
        raise ValueError(
            f"start={start!r} needs {wanted.max() + 1} modules, but there are {joint.num_modules}: "
            "use modules=None or another start."
        )
    return wanted.astype(np.int64)


def _given(start: Sequence[int], joint: JointModel) -> Index:
    given = np.asarray(start)
    fits = given.shape == (joint.num_locations,) and given.dtype.kind in "iu"
    if not fits or given.min() < 0 or given.max() >= joint.num_modules:
        raise ValueError(
            f"start={start!r} is not possible: give one module, 0 to {joint.num_modules - 1}, for each of the "
            f"{joint.num_locations} locations."
        )
    return given.astype(np.int64)


def _by_group(data: TaskCollection, architecture: Index, order: Index) -> Index:
    if data.groups is None:
        raise ValueError(f"start='oracle' needs data with known groups, which {data.name!r} lacks: use {STARTS[:2]}.")
    pairs = np.stack([np.array(data.groups)[architecture], order], 1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def find_groups(assignment: Index, architecture: Index, groups: Sequence[int]) -> Flags:
    """Return the runs in which locations share a module exactly if their tasks share a group; bool [runs].

    Args:
        assignment: Module of each location; int64 [runs, locations].
        architecture: Architecture of each location; int64 [locations]. Each architecture must have one location.
        groups: Group of each task.
    """
    return np.array([_finds_groups(one, np.asarray(groups)[architecture]) for one in assignment])


def _finds_groups(assignment: Index, group: Index) -> bool:
    pairs = np.unique(np.stack([group, assignment], 1), axis=0)
    return len(pairs) == len(np.unique(group)) == len(np.unique(assignment))
