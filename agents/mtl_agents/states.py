"""Models of the states of agents, as `mtl_gym.core.state.structure` has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from mtl_gym.core.rows import State
from mtl_gym.core.state.structure import Many, Maybe, Observed, RandomState


def agent_model(space: spaces.Space[Any], rows: int, random: np.random.Generator) -> State:
    """Return the model of what every agent keeps beside arrays: observations, its generator, and counts."""
    counts = {"num_timesteps": 0, "steps": 0, "episodes": Many({"r": 0.0, "l": 0})}
    return {"last_obs": Maybe(Observed(space, rows)), "np_random": RandomState(random), **counts}
