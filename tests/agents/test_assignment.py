"""Annealed assignment against hand-computed numbers."""

import numpy as np
import pytest
from mtl_agents import Assignment
from mtl_agents.routing.decisions import Situations

import mtl_gym
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents import stand_ins
from tests.agents.decisions import decisions

POOL = "MTLLimitless-Paths-v0"


def assignment(tasks, actions, **arguments):
    """Make an agent for routes of one decision."""
    return Assignment(stand_ins.routing(1, tasks, 1, actions), seed=0, **arguments)


def at(agent, task):
    return Situations(np.array([task]), np.array([0]), np.full((1, 1), -1), np.empty((1, 0), np.float32))


def probabilities(agent, task, explore=True):
    weights = agent._weights(at(agent, task), explore)[0]
    return weights / weights.sum()


def test_beta_rises_in_the_first_part_of_the_training():
    agent = assignment(1, 3, warm_up=0.5, final_beta=8.0)
    agent.total_timesteps = 100
    seen = []
    for agent.num_timesteps in (0, 10, 25, 50, 100):
        agent._update(decisions([0], [0], [0.0]))
        seen.append(float(agent.beta))
    assert seen == [0, 1.6, 4, 8, 8]


def test_probabilities_are_a_softmax_of_the_mean_recent_returns_times_beta():
    agent = assignment(2, 3, return_learning_rate=0.5, final_beta=4.0)
    agent.total_timesteps = agent.num_timesteps = 100
    agent._update(decisions([0, 0, 0], [0, 1, 1], [1.0, -1.0, -1.0]))
    assert agent.estimate[0, 0].tolist() == [0.5, -0.75, 0]  # half the way to 1; three quarters of the way to -1
    np.testing.assert_allclose(probabilities(agent, 0), np.exp([2, -3, 0]) / np.exp([2, -3, 0]).sum())
    np.testing.assert_allclose(probabilities(agent, 1), [1 / 3] * 3)


def test_choices_are_even_at_first_and_masked_ones_are_never_drawn():
    agent = assignment(1, 4)
    agent.estimate[0, 0] = [0.3, -0.5, 0.9, 5.0]
    agent.valid[0, 3] = False
    np.testing.assert_allclose(probabilities(agent, 0), [1 / 3, 1 / 3, 1 / 3, 0])
    agent.beta = np.array(1e9)
    np.testing.assert_allclose(probabilities(agent, 0), [0, 0, 1, 0], atol=1e-12)
    assert probabilities(agent, 0, explore=False).argmax() == 2


def test_beta_and_estimates_are_saved(tmp_path):
    agent = assignment(2, 3, warm_up=1.0)
    agent.total_timesteps, agent.num_timesteps = 100, 50
    agent._update(decisions([0, 1], [2, 1], [1.0, -1.0]))
    agent.save(tmp_path / "agent.pt")
    loaded = Assignment.load(tmp_path / "agent.pt")
    assert float(loaded.beta) == pytest.approx(2.5) and loaded.warm_up == 1.0
    np.testing.assert_array_equal(loaded.estimate, agent.estimate)


def test_masks_that_depend_on_the_route_hold_for_their_rows_only():
    env = make_vec_env(POOL, 16, 0)
    agent = Assignment(env, seed=0)
    agent.beta = np.array(1e9)
    agent.estimate[:] = np.arange(agent.num_actions)  # the last choices look best
    invalid = []
    step = env.step

    def watched(actions):
        invalid.extend(~env.batched.action_masks()[np.arange(16), actions])
        return step(actions)

    env.step = watched
    agent.learn(320)
    assert len(invalid) == 320 and not any(invalid) and agent.valid.all()


@pytest.mark.parametrize("seed", range(2))
def test_it_finds_the_right_networks_of_a_pool(seed):
    env = make_vec_env(POOL, 64, seed, tasks=2)
    result = mtl_gym.evaluate(Assignment(env, seed=seed).learn(20_000), env)
    assert result.figure == 100


def test_in_a_pool_a_saved_agent_continues_identically(tmp_path):
    env, other = make_vec_env(POOL, 8, 0), make_vec_env(POOL, 8, 0)
    agent = Assignment(env, seed=0).learn(200)
    agent.save(tmp_path / "agent.pt")
    other.batched.load_state_dict(env.batched.state_dict())
    loaded = Assignment.load(tmp_path / "agent.pt", other)
    for each in (agent, loaded):
        each.learn(200, reset_num_timesteps=False)
    np.testing.assert_array_equal(loaded.estimate, agent.estimate)
