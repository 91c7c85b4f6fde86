"""The longest episode of an environment, as its spec tells it."""

import gymnasium as gym
import numpy as np
import pytest

import mtl_gym  # noqa: F401
from mtl_gym.testing import valid_actions

SKILLS = "MTLScheduling-Skills-v0"
LENGTHS = {
    "MTLRouting-Paths-v0": 3,
    "MTLRouting-Context-v0": 1,
    "MTLLimitless-Paths-v0": 4,
    SKILLS: 60,
    "MTLRecurrent-Switching-v0": 12,
    "MTLAlignment-LinearDiscrete-v1": 40,
}


def played(env):
    """Return the number of valid decisions of an episode."""
    env.reset(seed=0)
    rng, steps, over = np.random.default_rng(0), 0, False
    while not over:
        *_, terminated, truncated, _ = env.step(valid_actions(env.unwrapped.batched, rng)[0])
        steps, over = steps + 1, terminated or truncated
    return steps


@pytest.mark.parametrize(("benchmark", "length"), LENGTHS.items())
def test_the_spec_tells_the_longest_episode(benchmark, length):
    env = gym.make(benchmark)
    assert env.spec.max_episode_steps == length == gym.make_vec(benchmark, num_envs=2).spec.max_episode_steps
    assert played(env) == length


def test_options_change_the_length():
    assert gym.make(SKILLS, budget=7).spec.max_episode_steps == 7
    assert gym.make("MTLRouting-Digits-v0", depth=2).spec.max_episode_steps == 2
    assert gym.spec(SKILLS).max_episode_steps is None  # Gymnasium would cut longer runs there
    assert played(gym.make(SKILLS, budget=70)) == 70


def test_an_environment_made_again_from_its_spec_has_the_same_episodes():
    env = gym.make(SKILLS, budget=7)
    assert played(gym.make(env.spec)) == 7
    batch = gym.make_vec(env.spec, num_envs=2)
    assert batch.spec.max_episode_steps == 7 == gym.make_vec(batch.spec).max_episode_steps


def test_gymnasium_cuts_a_single_environment_and_a_batch_refuses_to_be_cut():
    assert played(gym.make(SKILLS, max_episode_steps=5)) == 5
    with pytest.raises(ValueError, match=r"max_episode_steps=5 is not possible; .* up to 60 decisions: use gym.make"):
        gym.make_vec(SKILLS, num_envs=2, max_episode_steps=5)
