"""Layers of dispatchers and soft mixtures."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from mtl_agents import SoftMixture
from stable_baselines3.common.env_checker import check_env as check_sb3_env
from torch import nn

import mtl_gym
from mtl_gym.families.routing.layers import MixtureLayer, with_dispatcher, with_mixtures
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
from mtl_gym.integrations.sb3 import make_vec_env

DIGITS = "MTLRouting-Digits-v0"
X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
CHOICES = np.array([0, 2, 1, 1, 0, 2, 2])


def linear(activation=None):
    return RoutedLayer([nn.Linear(4, 3) for _ in range(5)], activation=activation)


@pytest.mark.parametrize("activation", [None, nn.ReLU()])
@pytest.mark.parametrize("stacked", [True, False])
def test_mixture_is_weighted_mean_of_block_outputs(activation, stacked):
    layer = MixtureLayer(linear(activation), mixtures=3)
    layer._linear = stacked
    nn.init.normal_(layer.logits)
    shares = layer.logits.softmax(1)
    act = activation or nn.Identity()
    expected = [
        sum(shares[choice, i] * act(block(x)) for i, block in enumerate(layer.blocks))
        for x, choice in zip(X, CHOICES, strict=True)
    ]
    torch.testing.assert_close(layer(X, CHOICES), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_mixtures_of_convolutions_keep_their_shape():
    blocks = [nn.Conv2d(2, 3, 3, padding=1) for _ in range(2)]
    layer = MixtureLayer(RoutedLayer(blocks, in_shape=(2, 5, 5)), mixtures=4)
    x = torch.randn(2, 2, 5, 5)
    torch.testing.assert_close(layer(x, np.array([3, 0])), (blocks[0](x) + blocks[1](x)) / 2, atol=1e-5, rtol=1e-5)


def test_mixture_weights_get_gradient_of_the_mean():
    layer = MixtureLayer(linear(), mixtures=2)
    layer(X, np.zeros(7, int)).sum().backward()
    outputs = torch.stack([block(X).sum() for block in layer.blocks])
    by_hand = (outputs - outputs.mean()) / 5  # softmax at equal logits
    torch.testing.assert_close(layer.logits.grad[0], by_hand, atol=1e-5, rtol=1e-5)
    assert (layer.logits.grad[1] == 0).all()


def test_mixture_uses_all_blocks_and_never_passes():
    network = with_mixtures(RoutedNetwork(None, [linear(), RoutedLayer([nn.Linear(3, 2)])], (4,)), mixtures=3)
    assert network.masks().tolist() == [[True, True, True, False]] * 2
    assert network.blocks_used(np.array([[True, False, False], [False, False, True]])) == 6


def test_dispatcher_decides_first_and_keeps_the_value():
    network = RoutedNetwork(None, [linear(), RoutedLayer([nn.Linear(3, 2)])], (4,))
    dispatched = with_dispatcher(network, agents=2)
    assert dispatched.masks().astype(int).tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]]
    routes = np.stack([CHOICES, np.zeros(7, int)], 1)
    picked = np.concatenate([np.arange(7)[:, None] % 2, routes], 1)
    assert torch.equal(dispatched(X, picked), network(X, routes))
    assert dispatched.blocks_used(np.ones((3, 5), bool)) == 6


def test_observation_contains_agent_in_charge():
    env = make_vec_env(DIGITS, 3, seed=0, dispatch=4).batched
    obs, info = env.reset(seed=0)
    assert obs["agent"].tolist() == [4, 4, 4] and info["action_mask"][0].tolist() == [True] * 4 + [False] * 7
    obs = env.step(np.array([0, 3, 1]))[0]
    assert obs["agent"].tolist() == [0, 3, 1] and obs["depth"].tolist() == [1, 1, 1]
    for _ in range(2):
        obs = env.step(np.array([5, 6, 7]))[0]
    obs, _, terminated, _, info = env.step(np.array([5, 6, 7]))
    assert terminated.all() and obs["agent"].tolist() == [4, 4, 4]
    assert [final["agent"] for final in info["final_obs"]] == [0, 3, 1]
    assert info["final_info"]["route"].tolist() == [[0, 5, 5, 5], [3, 6, 6, 6], [1, 7, 7, 7]]


def test_agents_of_dispatcher_earn_collaboration_reward():
    env = make_vec_env(DIGITS, 1, seed=0, dispatch=2, rho=0.3).batched
    env.reset(seed=0)
    assert env.step(np.array([1]))[1].tolist() == [0.0]  # the pick earns no reward
    env.step(np.array([5]))
    counts = env.collaboration_counts
    assert counts.shape == (4, 2, 11) and counts[0].sum() == 0 and counts[1, 1, 5] == 1


@pytest.mark.parametrize("dispatch", [0, -1, "all", 1.5])
def test_invalid_number_of_agents_is_refused(dispatch):
    with pytest.raises(ValueError, match=r"dispatch=.* is not possible"):
        make_vec_env(DIGITS, dispatch=dispatch)


OPTIONS = [{"mixture": True}, {"dispatch": 3}, {"mixture": True, "dispatch": "per-task", "layering": False}]


@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*imum value is:UserWarning")
@pytest.mark.parametrize("option", OPTIONS)
def test_gymnasium_and_sb3_checkers_pass(option):
    check_env(gym.make(DIGITS, **option).unwrapped, skip_render_check=True)
    check_sb3_env(gym.make(DIGITS, **option), warn=False)


@pytest.mark.parametrize("option", OPTIONS)
def test_custom_networks_support_dispatch_and_mixture(option):
    template = RoutedNetwork(None, [RoutedLayer([nn.Linear(64, 2) for _ in range(3)])], (64,))
    for network in (template, lambda context: template.renewed()):
        env = make_vec_env(DIGITS, 4, seed=0, network=network, **{**option, "layering": True})
        env.reset()
        assert env.batched.network.depth == 1 + ("dispatch" in option)


def test_training_changes_mixture_weights_and_new_seeds_reset_them():
    env = make_vec_env(DIGITS, 32, seed=0, mixture=True).batched
    obs, _ = env.reset(seed=0)
    for _ in range(30):
        obs = env.step(obs["task"])[0]
    logits = env.network.layers[0].logits
    assert (logits.abs().sum(1) > 0).all()
    env.reset(seed=1)
    assert (env.network.layers[0].logits == 0).all()


def test_evaluation_supports_soft_mixtures():
    agent = SoftMixture(make_vec_env(DIGITS, 64, seed=0, mixture=True), seed=0).learn(30_000)
    env = agent.env.batched
    result = mtl_gym.evaluate(agent, env)
    test = env.data.split("test")
    routes = np.repeat(test.task.numpy()[:, None], 3, 1)
    with torch.no_grad():
        logits = env.network.eval()(env.data.inputs("test", torch.arange(len(test))), routes)
        loss = nn.functional.cross_entropy(logits, test.y, reduction="none")
    by_hand = [float(loss[test.task == task].mean()) for task in range(10)]
    np.testing.assert_allclose(result.loss, by_hand, rtol=1e-5)
    assert result.figures["blocks_used"] == 30
