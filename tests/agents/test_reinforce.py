"""Routers with networks against hand-computed numbers; learning routers on a problem with a known solution."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import WPL, QNetwork, Reinforce, ReinforceSingle, TabularPolicyGradient, TabularQHistory
from mtl_agents.routing.networks import of_groups, perceptrons
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
from tests.agents.decisions import decisions

DIGITS = "MTLRouting-Digits-v0"
BEST = np.array([[0, 2, 1], [1, 0, 2], [2, 1, 0]])  # the right block of each task at each depth


def test_a_group_of_networks_equals_single_networks():
    network = perceptrons(3, 4, 8, 2)
    x, group = torch.randn(6, 4), np.array([2, 0, 1, 1, 2, 0])
    for row in range(6):
        hidden = torch.relu(network.layers[0].blocks[group[row]](x[row]))
        torch.testing.assert_close(of_groups(network, x, group)[row], network.layers[1].blocks[group[row]](hidden))


@pytest.mark.parametrize(
    ("arguments", "networks", "inputs"),
    [
        ({}, 30, 64),
        ({"per_layer": False}, 10, 64 + 3),
        ({"agents": "single"}, 3, 64 + 10),
        ({"agents": "single", "per_layer": False}, 1, 64 + 10 + 3),
    ],
)
def test_there_is_one_network_per_agent_and_layer_with_the_other_inputs(arguments, networks, inputs):
    network = Reinforce(DIGITS, **arguments).network
    assert network.num_blocks == networks
    assert network.input_shape == (inputs,)


def test_reinforce_weights_negative_log_probabilities_by_advantages():
    agent = Reinforce(DIGITS, seed=0, baseline_learning_rate=0.5)
    agent.baseline[4, 1] = 0.2
    made = decisions([4, 7], [3, 0], [1.0, -1.0], [1, 2], steps=3, value=np.random.default_rng(0).normal(size=(2, 64)))
    log = torch.log_softmax(agent.approximator.outputs(agent.network, made), 1)
    expected = -(0.8 * log[0, 3] + -1.0 * log[1, 0]) / 2
    torch.testing.assert_close(agent._loss(made), expected, atol=1e-6, rtol=1e-5)
    assert agent.baseline[4, 1] == pytest.approx(0.6) and agent.baseline[7, 2] == pytest.approx(-0.5)


def test_the_q_network_lowers_the_squared_temporal_difference_error():
    agent = QNetwork(DIGITS, seed=0, gamma=0.9)
    agent.valid[2, 10] = False
    made = decisions(
        [4, 4, 5], [3, 0, 1], [0, 0, 0], [1, 2, 2], reward=[0.3, 1.0, -1.0], last=[False, True, True], steps=3,
        value=np.random.default_rng(0).normal(size=(3, 64)),
    )  # fmt: skip
    q = agent.approximator.outputs(agent.network, made).detach().numpy()
    targets = [0.3 + 0.9 * q[1, :10].max(), 1.0, -1.0]
    expected = np.mean([(targets[i] - q[i, c]) ** 2 for i, c in enumerate([3, 0, 1])])
    assert agent._loss(made).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("arguments", [{"agents": "all"}, {"hidden": 0}, {"learning_rate": 0.0}])
def test_invalid_arguments_are_rejected_by_name(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Reinforce(DIGITS, **arguments)


def one_right_block_per_task():
    """Make a frozen network that transmits a task's signal only through the three right blocks.

    An input is plus or minus the unit vector of its task, the label its sign. Right blocks transmit the entry of the
    task and others drop it, so that on other routes the answer is constant and right in half of the cases.
    """
    widths = [3, 4, 5]  # growing, so that PASS cannot bypass the blocks
    layers = [RoutedLayer([nn.Linear(widths[d], [4, 5, 2][d]) for _ in range(3)]) for d in range(3)]
    with torch.no_grad():
        for depth, layer in enumerate(layers):
            for number, block in enumerate(layer.blocks):
                block.weight.zero_(), block.bias.zero_()
                for task in np.flatnonzero(BEST[:, depth] == number):
                    if depth < 2:
                        block.weight[task, task] = 1
                    else:
                        block.weight[:, task] = torch.tensor([-1.0, 1.0])
    network = RoutedNetwork(None, layers, (3,))
    sign = np.where(np.arange(200) % 2, 1.0, -1.0)
    tasks = {f"task {t}": (sign[:, None] * np.eye(3)[t], (sign > 0).astype(int)) for t in range(3)}
    data = MultiTaskDataset.from_tasks("signals", tasks, normalise=False)
    return RoutingVectorEnv(32, data=data, network=lambda context: network, train=False, rho=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "arguments"),
    [
        (WPL, {}),
        (TabularPolicyGradient, {}),
        (TabularQHistory, {"exploration_fraction": 0.5}),
        (Reinforce, {}),
        (ReinforceSingle, {"learning_rate": 3e-3}),
        (QNetwork, {"exploration_fraction": 0.5, "learning_rate": 3e-3}),
    ],
)
def test_learning_routers_find_the_one_right_route(agent, arguments):
    env = one_right_block_per_task()
    best = mtl_gym.evaluate(lambda obs: BEST[obs["task"], obs["depth"]], _reset(env))
    assert best.mean_accuracy == 1.0
    router = agent(env, seed=0, **arguments).learn(60_000)
    assert mtl_gym.evaluate(router, env).mean_accuracy > 0.95


def _reset(env):
    env.reset(seed=0)
    return env


def test_an_environment_without_values_is_rejected():
    with pytest.raises(ValueError, match="needs a Dict observation"):
        Reinforce(gym.wrappers.FlattenObservation(gym.make(DIGITS)))
