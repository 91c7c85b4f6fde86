"""Small data and environments for the scheduling tests."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import Split
from mtl_gym.families.scheduling.network import SharedNetwork


@pytest.fixture(scope="session")
def plants():
    """Three tasks of different sizes and numbers of classes."""
    rng = np.random.default_rng(0)

    def split(rows):
        task = np.repeat([0, 1, 2], rows)
        y = rng.integers(0, np.array([2, 3, 4])[task])
        x = rng.normal(size=(len(task), 5)) + 2 * np.eye(5)[y]
        return Split(torch.from_numpy(x).float(), torch.from_numpy(task), torch.from_numpy(y))

    splits = {"train": split([60, 40, 50]), "validation": split([9, 20, 5]), "test": split([10, 10, 30])}
    classes = (("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d"))
    return MultiTaskDataset("plants", splits, ("iris", "wine", "seeds"), classes)


@pytest.fixture
def network():
    """Make a template with one hidden layer."""
    return SharedNetwork(nn.Sequential(nn.Linear(5, 8), nn.Tanh()), nn.Linear(8, 4))


@pytest.fixture
def make(plants, network):
    """Return a function that makes a batched environment on `plants`."""

    def make(num_envs=2, **options):
        defaults = {"data": plants, "network": network, "updates": 60, "reference": None, "minibatch": 4}
        env = gym.make_vec("MTLScheduling-Digits-v0", num_envs=num_envs, **defaults | options).unwrapped
        env.reset(seed=0)
        return env

    return make
