"""Environments in two threads of one process train as each would alone."""

from sys import getswitchinterval, setswitchinterval
from threading import Thread

import gymnasium as gym
import numpy as np
import pytest
import torch

from mtl_gym.testing import valid_actions
from tests.core.test_modes import tensors
from tests.test_registry import short

IDS = ("MTLRouting-Digits-v0", "MTLLimitless-Digits-v0", "MTLScheduling-Skills-v0", "MTLAlignment-Linear-v0")
STEPS = 24


def train(env_id, seed, states):
    env = gym.make_vec(env_id, num_envs=4, **short(env_id)).unwrapped
    env.reset(seed=seed)
    draw = np.random.default_rng(seed)
    for _ in range(STEPS):
        env.step(valid_actions(env, draw))
    states[seed] = list(tensors(env.state_dict()))


@pytest.fixture
def eager():
    """Let threads take turns as often as possible."""
    usual = getswitchinterval()
    setswitchinterval(1e-5)
    yield
    setswitchinterval(usual)


@pytest.mark.parametrize("name", IDS)
def test_two_threads_train_to_the_same_bits(name, eager):
    alone, together = {}, {}
    for seed in (1, 2):
        train(name, seed, alone)
    threads = [Thread(target=train, args=(name, seed, together)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in alone.items():
        assert len(together[seed]) == len(expected) > 0
        for mine, theirs in zip(together[seed], expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
