"""Spaces of the routing environments."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from mtl_gym.families.routing.network import RoutedNetwork


def spaces_of(network: RoutedNetwork, tasks: int, agents: int) -> tuple[spaces.Dict, spaces.Discrete]:
    """Return the observation and action space of one row.

    Args:
        network: The routed network.
        tasks: Number of tasks.
        agents: Number of agents of the dispatcher; 0 without a dispatcher.
    """
    parts: dict[str, spaces.Box | spaces.Discrete] = {
        "value": spaces.Box(-np.inf, np.inf, (network.width,), np.float32),
        "task": spaces.Discrete(tasks),
        "depth": spaces.Discrete(network.depth),
    }
    if agents:
        parts["agent"] = spaces.Discrete(agents + 1)
    return spaces.Dict(list(parts.items())), spaces.Discrete(network.num_blocks + 1)
