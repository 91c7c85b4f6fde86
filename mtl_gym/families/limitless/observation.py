"""Spaces of the limitless environments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces


def spaces_of(
    image_shape: Sequence[int], tasks: int, modules: int, max_depth: int
) -> tuple[spaces.Dict, spaces.Discrete]:
    """Return the observation and action space of one row.

    Args:
        image_shape: Shape of a picture.
        tasks: Number of tasks.
        modules: Number of modules of the pool.
        max_depth: Maximum number of decisions per network.
    """
    seen = spaces.Dict(
        image=spaces.Box(0, 1, tuple(image_shape), np.float32),
        task=spaces.Discrete(tasks),
        chosen=spaces.MultiDiscrete([modules + 1] * max_depth),
        depth=spaces.Discrete(max_depth),
    )
    return seen, spaces.Discrete(modules + 1)
