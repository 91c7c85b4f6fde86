"""Annealed assignment per input against hand-computed numbers, and where no route per task can be right."""

import numpy as np
import pytest
import torch
from mtl_agents import InputAssignment
from mtl_agents.routing.decisions import Situations

import mtl_gym
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents import stand_ins
from tests.agents.decisions import decisions

CONTEXT = "MTLRouting-Context-v0"


def gate(actions, predictions, **arguments):
    """Make an agent for inputs of one number, whose gate predicts the same return of a choice for every input."""
    agent = InputAssignment(stand_ins.routing(1, 2, 1, actions, width=1), seed=0, **arguments)
    agent.total_timesteps = agent.num_timesteps = 100
    with torch.no_grad():
        for parameter in agent.network.parameters():
            parameter.zero_()
        agent.network.layers[1].blocks[0].bias[:] = torch.tensor(predictions)
    return agent


def probabilities(agent, explore=True):
    at = Situations(np.array([0]), np.array([0]), np.full((1, 1), -1), np.ones((1, 1), np.float32))
    weights = agent._weights(at, explore)[0]
    return weights / weights.sum()


def test_probabilities_are_a_softmax_of_predictions_times_beta():
    agent = gate(3, [0.5, -0.75, 0.0])
    np.testing.assert_allclose(probabilities(agent), [1 / 3] * 3)
    agent.beta = np.array(4.0)
    np.testing.assert_allclose(probabilities(agent), np.exp([2, -3, 0]) / np.exp([2, -3, 0]).sum())
    agent.valid[0, 0] = False
    np.testing.assert_allclose(probabilities(agent), np.array([0, np.exp(-3), 1]) / (1 + np.exp(-3)))
    assert probabilities(agent, explore=False).argmax() == 2


def test_the_gate_is_trained_on_the_returns_of_the_choices_made():
    agent = gate(3, [0.5, -0.5, 9.0], warm_up=1.0, final_beta=8.0)
    agent.num_timesteps = 25
    loss = agent._loss(decisions([0, 1], [0, 1], [1.0, 1.0], value=[[0.0], [1.0]]))
    assert loss.item() == pytest.approx((0.5**2 + 1.5**2) / 2) and float(agent.beta) == 2.0


def test_it_learns_the_block_that_an_input_asks_for():
    """By hand: the reward is 1 for block 0 on negative numbers and for block 1 on positive ones."""
    agent = gate(2, [0.0, 0.0], learning_rate=0.02)
    agent.trained = type(agent.trained)(lambda: agent.approximator.network(1, 64, 2), 0.02, agent.np_random)
    random = np.random.default_rng(0)
    for _ in range(200):
        value, choice = random.normal(size=(64, 1)), random.integers(2, size=64)
        earned = np.where((value[:, 0] > 0) == (choice == 1), 1.0, -1.0)
        agent._update(decisions(random.integers(2, size=64), choice, earned, value=value))
    obs = {"task": np.array([0, 1, 0, 1]), "depth": np.zeros(4, int), "value": np.array([[-1], [-2], [1], [2]], "f")}
    assert agent.predict(obs, deterministic=True)[0].tolist() == [0, 0, 1, 1]


def test_it_routes_by_the_context():
    """Every choice that ignores the context answers at chance, 50%."""
    env = make_vec_env(CONTEXT, 64, 0, contexts=2, noise=0.5)
    assert mtl_gym.evaluate(InputAssignment(env, seed=0).learn(16_000), env).figure > 85


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_it_comes_near_the_oracle_within_the_length_of_the_card(seed):
    env = make_vec_env(CONTEXT, 64, seed)
    assert mtl_gym.evaluate(InputAssignment(env, seed=seed).learn(mtl_gym.card(CONTEXT).steps), env).figure > 80
