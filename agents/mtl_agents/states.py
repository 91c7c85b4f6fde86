"""Models of the states of agents, as `mtl_gym.core.state.structure` has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from mtl_gym.core.rows import State
from mtl_gym.core.state.structure import Many, Maybe, Observed, RandomState


def agent_model(space: spaces.Space[Any], rows: int, randoms: Sequence[np.random.Generator]) -> State:
    """Return the model of what every agent keeps beside arrays: observations, its generators, and counts."""
    models = [RandomState(random) for random in randoms]
    counts = {"num_timesteps": 0, "steps": 0, "episodes": Many({"r": 0.0, "l": 0})}
    return {"last_obs": Maybe(Observed(space, rows)), "np_random": models[0] if len(models) == 1 else models, **counts}
