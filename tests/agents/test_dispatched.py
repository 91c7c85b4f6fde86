"""A dispatcher of routing agents."""

import numpy as np
from mtl_agents import Dispatched
from mtl_agents.routing.decisions import Decisions

from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.decisions import decided

DIGITS = "MTLRouting-Digits-v0"


def routes(task, choices, reward):
    """Make decisions of whole routes; int [routes], [routes, depth], float [routes]."""
    n, depth = np.shape(choices)
    step = np.tile(np.arange(depth), n)
    row = np.repeat(np.arange(n), depth)
    choices = np.asarray(choices)
    return Decisions(
        task=np.repeat(task, depth),
        depth=step,
        earlier=np.where(np.arange(depth) < step[:, None], choices[row], -1),
        value=np.zeros((n * depth, 64), np.float32),
        choice=choices.ravel(),
        reward=np.where(step == depth - 1, np.repeat(reward, depth), 0.0),
        returns=np.repeat(np.asarray(reward, float), depth),
        last=step == depth - 1,
    )


def test_the_table_of_the_chosen_agent_learns_for_any_task():
    agent = Dispatched(make_vec_env(DIGITS, 2, dispatch=3), seed=0)
    before = agent.policy.copy()
    agent._update(routes([7], [[2, 4, 5, 6]], [1.0]))
    changed = np.abs(agent.policy - before).max(-1) > 1e-12
    assert changed.tolist() == [[False] * 4, [False] * 4, [False, True, True, True]]
    assert (agent.policy[2, [1, 2, 3], [4, 5, 6]] > before[2, [1, 2, 3], [4, 5, 6]]).all()


def test_the_dispatcher_learns_the_right_agent_for_each_task():
    """Two agents with fixed tables: one chooses the block that answers no, the other the one that answers yes."""
    env = decided([-5.0, 5.0], dispatch=2)
    agent = Dispatched(env, seed=0, policy_learning_rate=0.0, dispatcher_learning_rate=0.01, min_probability=0.0)
    agent.policy[:, 1] = [[1, 0, 0], [0, 1, 0]]  # agent 0 says no, agent 1 yes
    agent.learn(20_000)
    picks, _ = agent.predict(first_observation(), deterministic=True)
    assert picks.tolist() == [0] * 10  # no is right in nine of ten


def first_observation():
    return {"task": np.arange(10), "depth": np.zeros(10, int), "value": np.zeros((10, 64), np.float32)}
