"""Episodes truncated by a reset, in every family: they are discarded, and all others train."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import WPL
from torch import nn

from mtl_gym.families.routing.blocks import simple_routed_network
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork

DIGITS = "MTLRouting-Digits-v0"
FAMILIES = {
    DIGITS: {"hidden": 4, "train_batch": 4},
    "MTLLimitless-Digits-v0": {"filters": 2, "hidden": 4, "train_batch": 4},
    "MTLRecurrent-BrainSeries-v0": {"hidden": 2, "train_batch": 4},
    "MTLScheduling-Digits-v0": {"updates": 4, "reference": None, "validation_samples": 4},
    "MTLAlignment-Linear-v0": {"iterations": 1, "generations": 2, "final_generations": 0},
}


def size(state):
    """Return the number of values in a state."""
    if isinstance(state, dict):
        return sum(map(size, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(size, state)) + 1
    return state.numel() if isinstance(state, torch.Tensor) else 1


def act(env, random):
    """Return a random action, valid if choices are masked."""
    space = env.action_space
    if not isinstance(space, gym.spaces.Discrete):
        return space.sample()
    mask = env.unwrapped.action_masks()
    return int((random.random(len(mask)) * mask).argmax())


def play(env, episodes, random):
    for _ in range(episodes):
        env.reset()
        over = False
        while not over:
            *_, terminated, truncated, _ = env.step(act(env, random))
            over = terminated or truncated


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_stays_bounded_under_a_time_limit_that_truncates_every_episode(family):
    steps = 1 if family == "MTLAlignment-Linear-v0" else 2
    env, random = gym.wrappers.TimeLimit(gym.make(family, **FAMILIES[family]), steps), np.random.default_rng(0)
    env.action_space.seed(0)
    env.reset(seed=0)
    sizes = []
    for _ in range(6):
        play(env, 12, random)
        sizes.append(size(env.unwrapped.batched._state()))
    assert max(sizes[2:]) <= max(sizes[:2]) + 60


@pytest.mark.parametrize("family", list(FAMILIES)[:3])
def test_complete_episodes_between_truncated_ones_train(family):
    env, random = gym.make(family, **FAMILIES[family]), np.random.default_rng(0)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(10):
        for _ in range(3):
            env.reset()
            env.step(act(env, random))
        play(env, 1, random)
    assert env.unwrapped.episodes == 10 and env.unwrapped.updates >= 2
    assert all(torch.isfinite(value).all() for value in env.unwrapped.network.state_dict().values())


@pytest.mark.parametrize("family", [DIGITS, "MTLRecurrent-BrainSeries-v0", "MTLAlignment-Linear-v0"])
def test_a_step_that_an_error_interrupts_is_followed_by_a_reset_that_keeps_the_weights(family):
    calls = []

    def reward(*figures):
        calls.append(len(figures))
        if len(calls) == 1:
            raise ZeroDivisionError("of the user")
        return torch.zeros(len(figures[0])) if len(figures) == 3 else np.zeros(2)

    env = gym.make_vec(family, 2, **FAMILIES[family], reward=reward).unwrapped
    env.reset(seed=0)
    env.action_space.seed(0)
    with pytest.raises(ZeroDivisionError):
        for _ in range(50):
            env.step(env.action_space.sample())
    weights = {name: value.clone() for name, value in env.network.state_dict().items()}
    with pytest.raises(gym.error.ResetNeeded, match=r"of the user.*reset\(\)"):
        env.step(env.action_space.sample())
    assert all(torch.equal(weights[name], value) for name, value in env.network.state_dict().items())
    env.reset()
    env.step(env.action_space.sample())


def test_truncated_routes_leave_no_graph_and_do_not_count_as_episodes():
    env = gym.wrappers.TimeLimit(gym.make(DIGITS, depth=3, train_batch=10), 2)
    env.reset(seed=0)
    batched, longest = env.unwrapped.batched, 0
    for _ in range(100):
        env.reset()
        env.step(1)
        assert env.step(2)[3]
        longest = max(longest, len(batched._graph.log))
    assert longest <= 10 * 3 + 1 and (batched.episodes, batched.updates) == (0, 0)


def test_a_batched_environment_trains_on_full_batches_after_a_reset_midway():
    env = gym.make_vec(DIGITS, num_envs=8, vectorization_mode="vector_entry_point", hidden=4, train_batch=16).unwrapped
    env.reset(seed=0)
    for _ in range(5):
        env.reset()
        env.step(np.zeros(8, int))
    for _ in range(12):
        env.step(np.zeros(8, int))
    assert len(env._graph.log) < 20 and env.updates >= 1


def test_a_router_learns_under_a_time_limit():
    env = gym.wrappers.TimeLimit(gym.make(DIGITS, hidden=4), 2)
    agent = WPL(env, seed=0).learn(200)
    assert agent.policy[:, :2].std() > 0 and np.ptp(agent.policy[:, 2]) < 1e-9


def flat_trunk(context):
    network = simple_routed_network((64,), 2, 2, depth=2, hidden=32)
    return RoutedNetwork(nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64)), list(network.layers), (64,))


@pytest.mark.parametrize("num_envs", [1, 2, 3, 5])
def test_batch_norm_in_a_flat_trunk_trains_with_any_num_envs(num_envs):
    env = gym.make_vec(
        DIGITS, num_envs=num_envs, vectorization_mode="vector_entry_point", network=flat_trunk, train_batch=2
    ).unwrapped
    random = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(200):
        # 2 is PASS, which completes the remaining routes.
        env.step(np.where(random.random(num_envs) < 0.3, 2, random.integers(2, size=num_envs)))
    assert env.updates > 20


def test_batch_norm_that_would_train_on_single_inputs_is_refused():
    with pytest.raises(ValueError, match=r"train_batch=1.* train_batch=2"):
        gym.make(DIGITS, network=flat_trunk, train_batch=1)
    assert gym.make(DIGITS, network=flat_trunk, train_batch=1, train=False).reset(seed=0)
    layer = [nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))]
    with pytest.raises(ValueError, match=r"Block 0 .* single row"):
        RoutedLayer(layer, (64,))
