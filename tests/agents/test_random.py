"""Random controls in environments of every family and in others."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from mtl_agents import Random, RandomConnections, RandomFixed, RandomSchedule, Uniform
from mtl_agents.random import draw, random, random_fixed

from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab.agents import find_agent
from tests.agents.schedules import blank, rows

SPACES = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete([[2, 3], [3, 2]]),
    spaces.MultiBinary(4),
    spaces.Box(-1, 2, (3,)),
]
IDS = ("MTLRouting-Digits-v0", "MTLLimitless-Digits-v0", "MTLRecurrent-BrainSeries-v0", "MTLAlignment-Linear-v0")


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_actions_are_uniform_over_the_space(space):
    drawn = draw(space, 3000, None, np.random.default_rng(0))
    assert all(space.contains(action) for action in drawn[:50])
    if isinstance(space, spaces.Box):
        np.testing.assert_allclose(drawn.mean(0), 0.5, atol=0.1)
    else:
        numbers = drawn.reshape(len(drawn), -1)
        for part in numbers.T:
            shares = np.unique(part, return_counts=True)[1] / len(part)
            assert len(shares) > 1
            np.testing.assert_allclose(shares, 1 / len(shares), atol=0.05)


def test_masks_exclude_choices_of_each_part_of_an_action():
    random = np.random.default_rng(0)
    one = draw(spaces.Discrete(4), 500, np.tile([True, False, True, True], (500, 1)), random)
    assert set(one) == {0, 2, 3}
    masks = np.tile([True, True, False, True, True], (500, 1))
    two = draw(spaces.MultiDiscrete([2, 3]), 500, masks, random)
    assert set(two[:, 0]) == {0, 1} and set(two[:, 1]) == {1, 2}
    bits = draw(spaces.MultiBinary(2), 500, np.tile([True, False, True, True], (500, 1)), random)
    assert set(bits[:, 0]) == {0} and set(bits[:, 1]) == {0, 1}


def test_it_acts_in_every_family_and_in_other_environments(tmp_path):
    for env in (*IDS, rows(4), rows(4, control="weights"), gym.make("CartPole-v1")):
        agent = Random(env, seed=1).learn(4)
        agent.save(tmp_path / "random.pt")
        loaded, now = Random.load(tmp_path / "random.pt"), agent.env.reset()
        actions = loaded.predict(now)[0]
        assert len(actions) == agent.n_envs and agent.action_space.contains(actions[0])


def test_one_observation_has_one_action():
    agent = Random("MTLRouting-Digits-v0", seed=0)
    obs, _ = gym.make("MTLRouting-Digits-v0").reset(seed=0)
    assert np.shape(agent.predict(obs)[0]) == ()
    assert agent.predict(obs, action_masks=np.eye(11, dtype=bool)[4])[0] == 4


def test_an_unbounded_action_space_is_rejected():
    with pytest.raises(ValueError, match="Random needs"):
        Random(gym.wrappers.TransformAction(gym.make("CartPole-v1"), None, spaces.Box(-np.inf, np.inf, (1,))))


def test_names_of_the_last_release_are_aliases():
    assert random is RandomSchedule is RandomConnections is Random is find_agent("random")
    assert random_fixed is RandomFixed is find_agent("random-fixed")


def test_random_fixed_rejects_environments_without_routes():
    with pytest.raises(ValueError, match="RandomFixed needs a Dict observation"):
        RandomFixed(rows(2))


def test_a_file_with_another_agent_is_rejected(tmp_path):
    Uniform(blank(3)).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="holds Uniform, not Random"):
        Random.load(tmp_path / "agent.pt")
