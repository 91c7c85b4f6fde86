"""Spaces of the recurrent environments."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from mtl_gym.families.recurrent.network import MultiTaskNetwork


def spaces_of(network: MultiTaskNetwork, steps: int, connections: int) -> tuple[spaces.Dict, spaces.MultiBinary]:
    """Return the observation and action space of one row.

    Args:
        network: The network.
        steps: Number of time steps of the longest sequence.
        connections: Number of connections, at least 1.
    """
    seen = spaces.Dict(
        units=spaces.Box(-np.inf, np.inf, (sum(network.parts.values()),), np.float32),
        task=spaces.Discrete(network.tasks),
        step=spaces.Discrete(steps),
    )
    return seen, spaces.MultiBinary(connections)
