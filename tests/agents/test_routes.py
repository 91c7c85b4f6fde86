"""Decisions that a router learns from."""

import numpy as np
import pytest
from mtl_agents import WPL, Dispatched, QNetwork, TabularPolicyGradient, TabularQ, TabularQHistory

from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents import stand_ins

DIGITS = "MTLRouting-Digits-v0"


def recording(kind, env, **arguments):
    """Make an agent that records decisions instead of learning from them."""
    agent = kind(env, **arguments)
    agent.learned = []
    agent._update = agent.learned.append
    return agent


def record(agent, depth, actions, rewards, dones):
    depth, task = np.array(depth), np.arange(len(depth))
    agent._record({"task": task, "depth": depth}, np.array(actions), np.array(rewards, float), np.array(dones))


def test_a_partial_route_is_recorded_with_its_own_depths():
    agent = recording(TabularPolicyGradient, stand_ins.routing(2, 2, 3, 4))
    record(agent, [1, 0], [3, 2], [0.5, 0.1], [False, False])
    record(agent, [2, 1], [1, 1], [1.0, 0.2], [True, False])
    record(agent, [0, 2], [0, 3], [0.0, 0.4], [False, True])
    joined, whole = agent.learned
    assert joined.depth.tolist() == [1, 2] and joined.choice.tolist() == [3, 1] and joined.task.tolist() == [0, 0]
    assert joined.returns.tolist() == [1.5, 1.0] and joined.last.tolist() == [False, True]
    assert joined.earlier.tolist() == [[-1, -1, -1], [-1, 3, -1]]
    assert whole.depth.tolist() == [0, 1, 2] and whole.choice.tolist() == [2, 1, 3]  # the other row is not disturbed
    assert whole.returns == pytest.approx([0.7, 0.6, 0.4])


def test_a_route_interrupted_by_a_reset_is_discarded_in_its_row_only():
    agent = recording(TabularQ, stand_ins.routing(2, 2, 2, 4))
    record(agent, [0, 0], [3, 2], [0.5, 0.1], [False, False])
    record(agent, [0, 1], [1, 1], [0.25, 1.0], [False, True])
    record(agent, [1, 0], [2, 0], [1.0, 0.0], [True, False])
    assert [one.choice.tolist() for one in agent.learned] == [[2, 1], [1, 2]]
    assert agent.learned[1].reward.tolist() == [0.25, 1.0]


@pytest.mark.parametrize("kind", [TabularQHistory, Dispatched])
def test_agents_that_use_earlier_choices_do_not_learn_from_partial_routes(kind):
    env = stand_ins.routing(1, 2, 3, 4, 0, 3 if kind is Dispatched else None)
    agent = recording(kind, env)
    agent._values = np.zeros((1, 3, 0), np.float32)
    agent.LOOKS = False
    record(agent, [1], [3], [0.5], [False])
    record(agent, [2], [1], [1.0], [True])
    assert agent.learned == []
    for depth in range(3):
        record(agent, [depth], [1], [1.0], [depth == 2])
    assert agent.learned[0].depth.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [WPL, QNetwork, TabularQHistory, Dispatched])
def test_an_agent_moved_into_episodes_under_way_continues_learning(kind):
    env, other = (make_vec_env(DIGITS, 4, seed=0, depth=2, **kind.ENV_KWARGS) for _ in range(2))
    agent = kind(env, seed=0).learn(40)
    other.reset()
    agent._last_obs = other.step(np.zeros(4, int))[0]
    assert agent._last_obs["depth"].tolist() == [1] * 4
    agent.set_env(other, force_reset=False)
    agent.learn(40, reset_num_timesteps=False)
    assert agent.num_timesteps >= 80
