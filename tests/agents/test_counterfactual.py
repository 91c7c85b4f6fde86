"""Counterfactual credit from alternative routes."""

import numpy as np
import pytest
import torch
from mtl_agents import WPL, Counterfactual

from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.decisions import decided

DIGITS = "MTLRouting-Digits-v0"


def test_the_probability_of_the_other_block_changes_with_its_advantage():
    env = decided([-1.0, 1.0])
    agent = Counterfactual(env, every=1, seed=0, policy_learning_rate=0.01)
    agent.policy[:, 0] = [[1.0, 0.0, 0.0]] * 10  # all say no
    agent.valid[:, 2] = False
    moves = []
    agent._project = lambda: moves.append(agent.policy.copy())
    labels = []
    step = env.step

    def watched(actions):
        result = step(actions)
        labels.extend((info["task"], info["label"]) for info in result[3])
        return result

    env.step = watched
    agent.learn(32)
    # Where the label is yes, yes would have earned 2 more; elsewhere 2 less.
    expected = np.zeros(10)
    for task, label in labels:
        expected[task] += 0.01 * (2 if label == 1 else -2)
    np.testing.assert_allclose(moves[-1][:, 0, 1], expected)
    assert agent.tried == 32


def test_forks_do_not_change_the_environment():
    weights = []
    for agent_class, extra in ((Counterfactual, {"every": 1}), (WPL, {})):
        env = make_vec_env(DIGITS, 16, seed=0)
        agent = agent_class(env, seed=0, **extra)
        agent._sample = lambda weights: np.arange(16) % 10
        agent.learn(480)
        weights.append([parameter.clone() for parameter in env.batched.network.parameters()])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*weights, strict=True))


def test_it_learns_the_block_with_the_right_answer():
    env = decided([1.0, 1.0, -1.0, 1.0])
    agent = Counterfactual(env, every=1, seed=0, policy_learning_rate=0.02).learn(12_000)
    assert (agent.policy[:, 0, 2] > 0.95).all()


def test_an_interval_of_zero_is_rejected():
    with pytest.raises(ValueError, match="every=0"):
        Counterfactual(DIGITS, every=0)
