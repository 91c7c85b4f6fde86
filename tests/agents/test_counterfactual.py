"""Credit from the route not taken."""

import numpy as np
import pytest
import torch
from mtl_agents import WPL, Counterfactual

from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.decisions import decided

DIGITS = "MTLRouting-Digits-v0"


def test_the_probability_of_the_other_block_moves_by_what_it_would_have_earned_more():
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


def test_a_fork_changes_nothing_for_the_environment_itself():
    weights = []
    for agent_class, extra in ((Counterfactual, {"every": 1}), (WPL, {})):
        env = make_vec_env(DIGITS, 16, seed=0)
        agent = agent_class(env, seed=0, **extra)
        agent._sample = lambda weights: np.arange(16) % 10
        agent.learn(480)
        weights.append([parameter.clone() for parameter in env.batched.network.parameters()])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*weights, strict=True))


def test_it_finds_the_block_that_answers_right():
    env = decided([1.0, 1.0, -1.0, 1.0])
    agent = Counterfactual(env, every=1, seed=0, policy_learning_rate=0.02).learn(12_000)
    assert (agent.policy[:, 0, 2] > 0.95).all()


def test_a_batch_that_is_never_tried_again_is_refused():
    with pytest.raises(ValueError, match="every=0 is not possible"):
        Counterfactual(DIGITS, every=0)
