"""Collaboration reward of agents with explicit probabilities."""

import numpy as np
import pytest
from mtl_agents import WPL, Dispatched, Reinforce

from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents import stand_ins

DIGITS = "MTLRouting-Digits-v0"


def decide(agent, task, depth, value_width=0):
    """Carry out one step of learning for rows at the given tasks and depths; return choices and bonuses."""
    agent._length[:] = depth
    obs = {"task": np.array(task), "depth": np.array(depth), "value": np.zeros((len(task), value_width), np.float32)}
    return agent._act(obs), agent._bonus


def test_a_choice_earns_rho_times_the_mean_probability_of_the_agents_that_made_it():
    agent = WPL(stand_ins.routing(3, 3, 1, 4), collaboration=0.3, seed=0)
    agent._masks = lambda: np.ones((3, 4), bool)
    agent.policy[:, 0] = [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    _, bonus = decide(agent, [0, 1, 2], [0, 0, 0])
    assert bonus.tolist() == [0, 0, 0]  # nobody had taken anything before
    agent.policy[:, 0] = [[0, 0.5, 0.5, 0], [0, 0.25, 0, 0.75], [1, 0, 0, 0]]
    decide(agent, [0, 1, 2], [0, 0, 0])  # says what the agents would do now; agent 2 took choice 0 for sure
    agent.taken[:, 0] = [[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    agent.policy[:, 0] = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    choice, bonus = decide(agent, [0, 1, 2], [0, 0, 0])
    assert choice.tolist() == [1, 0, 2]
    np.testing.assert_allclose(bonus, 0.3 * np.array([(0.5 + 0.25) / 2, 1.0, 0.0]))


def test_the_collaboration_reward_is_part_of_the_returns():
    agent = WPL(stand_ins.routing(1, 1, 2, 2), collaboration=0.5, seed=0)
    agent._masks = lambda: np.ones((1, 2), bool)
    agent.taken[0, :, 0], agent.probability[0, :, 0] = True, [0.2, 0.6]
    agent.policy[0] = [1, 0]
    learned = []
    agent._update = learned.append
    for depth in range(2):
        obs = {"task": np.array([0]), "depth": np.array([depth])}
        agent._record(obs, agent._act(obs), np.array([1.0]), np.array([depth == 1]))
    assert learned[0].reward.tolist() == [1.1, 1.3]
    np.testing.assert_allclose(learned[0].returns, [2.4, 1.3])


@pytest.mark.parametrize("agent_class", [WPL, Reinforce, Dispatched])
def test_the_collaboration_reward_is_at_most_rho_times_the_final_reward(agent_class):
    env = make_vec_env(DIGITS, 16, seed=0, rho=0.0, **agent_class.ENV_KWARGS)
    agent = agent_class(env, collaboration=0.3, seed=0)
    seen = []
    record = agent._record
    agent._record = lambda *step: (seen.append(agent._bonus.copy()), record(*step))
    agent.learn(1200)
    seen = np.concatenate(seen)
    assert (seen >= 0).all() and (seen <= 0.3).all() and seen.max() > 0


def test_the_dispatchers_choice_earns_no_collaboration_reward():
    agent = Dispatched(make_vec_env(DIGITS, 8, seed=0, rho=0.0, dispatch=3), collaboration=0.3, seed=0).learn(320)
    agent._act(agent._last_obs)
    assert (agent._last_obs["depth"] == 0).all() and agent._bonus.tolist() == [0.0] * 8


def test_two_collaboration_rewards_are_rejected():
    with pytest.raises(ValueError, match=r"collaboration=.* rho=0"):
        WPL(make_vec_env(DIGITS, 2), collaboration=0.3)
    with pytest.raises(ValueError, match="collaboration=11"):
        WPL(make_vec_env(DIGITS, 2, rho=0.0), collaboration=11)
