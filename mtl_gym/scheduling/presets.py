"""Which network fits which data."""

from __future__ import annotations

from mtl_gym.data import MultiTaskDataset
from mtl_gym.scheduling.network import SharedNetwork, plain_network


def network_for(data: MultiTaskDataset) -> SharedNetwork:
    """The paper's network for texts, fully connected or convolutional encoders for what else there is.

    Raises:
        ValueError: If no network is known for such inputs.
    """
    return plain_network(data)
