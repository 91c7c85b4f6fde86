"""Observations and spaces of the alignment environments."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Array, Flags
from mtl_gym.families.alignment.joint import Index, JointModel


def spaces_of(joint: JointModel, challengers: int) -> tuple[spaces.Dict, spaces.MultiDiscrete]:
    """Return the observation and action space of one run."""
    locations, modules = joint.num_locations, joint.num_modules
    slots = locations * challengers
    seen = spaces.Dict(
        assignment=spaces.MultiDiscrete(np.full(locations, modules)),
        score=spaces.Box(0, 1, (slots,), np.float32),
        usage=spaces.Box(0, locations, (modules,), np.float32),
    )
    return seen, spaces.MultiDiscrete(np.full(slots, modules + 1))


def observation(assignment: Index, score: Floats, modules: int) -> dict[str, Array]:
    """Return the observations of all runs, in fresh arrays.

    Args:
        assignment: Module of each location; int64 [runs, locations].
        score: Score of each challenger; float32 [runs, locations * challengers].
        modules: Number of modules.
    """
    usage = np.zeros((len(assignment), modules), np.float32)
    np.add.at(usage, (np.arange(len(assignment))[:, None], assignment), 1)
    return {"assignment": assignment.copy(), "score": score.copy(), "usage": usage}


def all_choices(runs: int, slots: int, modules: int) -> Flags:
    """Return a read-only mask of ones, bool [runs, slots * (modules + 1)], which takes the memory of one value."""
    return np.broadcast_to(np.True_, (runs, slots * (modules + 1)))
