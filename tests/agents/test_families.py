"""One name, an agent of the environment's family."""

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import Random, RandomSchedule, Uniform
from mtl_agents.random import random

from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab.agents import find_agent
from tests.agents.schedules import DIGITS, blank, rows


def test_the_environment_decides_which_agent_it_is(tmp_path):
    assert find_agent("random") is random
    for env, kind in (("MTLRouting-Digits-v0", Random), ("MTLLimitless-Digits-v0", Random), (DIGITS, RandomSchedule)):
        agent = random(env, seed=1)
        assert type(agent) is kind and agent.seed == 1
        agent.save(tmp_path / "random.pt")
        assert type(random.load(tmp_path / "random.pt")) is kind


def test_it_acts_in_both():
    assert random("MTLRouting-Digits-v0", seed=0).learn(30).num_timesteps == 30
    agent = random(rows(4), seed=0).learn(40)
    assert agent.env.batched.progress.trained.sum() == 40


def test_an_environment_of_no_family_is_refused():
    with pytest.raises(
        ValueError, match="RandomConnections and RandomSchedule and RandomAlignment are of other families"
    ):
        random(gym.make("CartPole-v1"))


def test_a_file_with_another_agent_is_refused(tmp_path):
    Uniform(blank(3)).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="holds Uniform, none of Random, RandomConnections, RandomSchedule"):
        random.load(tmp_path / "agent.pt")


def test_a_random_task_needs_no_environment_to_be_loaded(tmp_path):
    random(blank(4, runs=2, chooses=True), seed=0).save(tmp_path / "agent.pt")
    assert random.load(tmp_path / "agent.pt").action_space.n == np.int64(4)
