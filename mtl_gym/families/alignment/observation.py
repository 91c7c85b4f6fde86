"""The observation: which module is where, how the challengers fared, and how often each module is used."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Array
from mtl_gym.families.alignment.joint import Index, JointModel


def observation_space(joint: JointModel, challengers: int) -> spaces.Dict:
    """Return the space of one run's `assignment`, `score` and `usage`."""
    locations, modules = joint.num_locations, joint.num_modules
    return spaces.Dict(
        assignment=spaces.MultiDiscrete(np.full(locations, modules)),
        score=spaces.Box(0, 1, (locations * challengers,), np.float32),
        usage=spaces.Box(0, locations, (modules,), np.float32),
    )


def observation(assignment: Index, score: Floats, modules: int) -> dict[str, Array]:
    """Return the observation of all runs in fresh arrays; int64 [runs, locations], float32 [runs, slots]."""
    usage = np.zeros((len(assignment), modules), np.float32)
    np.add.at(usage, (np.arange(len(assignment))[:, None], assignment), 1)
    return {"assignment": assignment.copy(), "score": score.copy(), "usage": usage}
