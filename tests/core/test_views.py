"""Evaluation views: a single pass with the rewards of training."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import TaskSpecificAll
from stable_baselines3.common.evaluation import evaluate_policy

import mtl_gym
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env

SHORT = {"updates": 4, "reference": None, "validation_samples": 4}
FAMILIES = {
    "MTLRouting-Digits-v0": {},
    "MTLLimitless-Digits-v0": {"filters": 2, "hidden": 8},
    "MTLRecurrent-BrainSeries-v0": {},
    "MTLScheduling-Digits-v0": SHORT,
    "MTLAlignment-Linear-v0": {"iterations": 1, "generations": 2, "final_generations": 0},
}
SAMPLED = list(FAMILIES)[:3]


class Choosing:
    """A policy of random valid choices, with a few invalid ones."""

    def __init__(self, view):
        self.view, self.random = view, np.random.default_rng(0)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        space = self.view.single_action_space
        if not isinstance(space, gym.spaces.Discrete):
            self.view.action_space.seed(int(self.random.integers(2**31)))
            return self.view.action_space.sample(), None
        masks = self.view.action_masks() | (self.random.random((self.view.num_envs, 1)) < 0.05)
        return (self.random.random(masks.shape) * masks).argmax(1), None


def view_of(family, num_envs):
    env = gym.make_vec(family, num_envs=4, vectorization_mode="vector_entry_point", **FAMILIES[family]).unwrapped
    env.reset(seed=0)
    return env.evaluation_view("validation", num_envs)


@pytest.mark.parametrize("family", SAMPLED)
def test_evaluate_policy_counts_exactly_the_samples_of_the_split(family):
    view = view_of(family, 250)  # not a divisor of any split's size
    samples, split = [], len(view.data.split("validation"))
    assert split % 250

    def collect(names, _):
        if names["done"]:
            samples.append(names["info"]["sample"])

    rewards, _ = evaluate_policy(
        Choosing(view), BatchedVecEnv(view), split, callback=collect, return_episode_rewards=True, warn=False
    )
    assert sorted(samples) == list(range(split)) and len(rewards) == split
    assert view.pass_over


@pytest.mark.parametrize("family", FAMILIES)
def test_a_view_ends_after_its_pass_without_further_episodes_or_rewards(family):
    view = view_of(family, None if family not in SAMPLED else 250)
    obs, info = view.reset()
    policy, ended = Choosing(view), 0
    while not view.pass_over:
        waiting = ~view.playing
        obs, reward, terminated, truncated, info = view.step(policy.predict(obs)[0])
        done = terminated | truncated
        ended += done.sum()
        assert not (done & waiting).any() and not reward[waiting].any()
        if done.any():
            assert all((info["final_info"][key] <= done).all() for key in info["final_info"] if key[0] == "_")
    assert ended == (len(view.data.split("validation")) if family in SAMPLED else view.num_envs)
    with pytest.raises(gym.error.ResetNeeded, match=r"pass is over.*reset\(\)"):
        view.step(policy.predict(obs)[0])
    view.reset()
    assert not view.pass_over


def test_the_mean_reward_of_a_view_covers_its_samples_only():
    view = view_of("MTLRouting-Digits-v0", 1000)
    result = mtl_gym.evaluate(lambda obs: obs["task"], view._source, "validation")

    class TaskSpecific:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return observation["task"], None

    mean, _ = evaluate_policy(TaskSpecific(), BatchedVecEnv(view), len(view.data.split("validation")), warn=False)
    assert mean == pytest.approx(2 * result.mean_accuracy - 1)  # +1 if right, -1 if wrong; other decisions have none


@pytest.mark.parametrize("dispatch", [None, 3])
def test_a_routing_view_has_the_collaboration_reward_of_training(dispatch):
    env = make_vec_env("MTLRouting-Digits-v0", 64, dispatch=dispatch, reward=lambda logits, label, task: 0.0 * label)
    TaskSpecificAll(env, seed=0).learn(6400)
    counts = env.batched.collaboration_counts
    trained, seen = [], []
    view = env.batched.evaluation_view("train", 64)
    for one, rewards in ((view, seen), (env.batched, trained)):
        one.reset()
        for _ in range(env.batched.routed_depth):
            # Training continues to count, so its rewards drift slightly.
            _, reward, *_ = one.step(np.arange(64) % 2)
            rewards.append([reward[choice::2].mean() for choice in range(2)])
    np.testing.assert_allclose(seen, trained, atol=0.02)
    assert np.max(seen) > 0.05
    np.testing.assert_array_equal(view.collaboration_counts, counts)  # a view does not count


def test_a_scheduling_view_uses_the_reference_of_its_environment(monkeypatch):
    env = gym.make_vec("MTLScheduling-Digits-v0", num_envs=2, **SHORT | {"reference": 0.5}).unwrapped
    env.reset(seed=0)
    monkeypatch.setattr(
        "mtl_gym.families.scheduling.env.reference_accuracy", lambda *args: pytest.fail("worked out again")
    )
    view = env.evaluation_view()
    view.reset()
    assert view.reference is env.reference


def test_a_policy_of_another_family_is_told_which_observations_it_takes(tmp_path):
    path = TaskSpecificAll("MTLRouting-Digits-v0").save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"takes observations with .*'depth'.* here have .*'units'"):
        mtl_gym.evaluate(TaskSpecificAll.load(path), gym.make("MTLRecurrent-BrainSeries-v0"))


@pytest.mark.parametrize("policy", [None, int, TaskSpecificAll])
def test_what_is_no_policy_is_refused(policy):
    with pytest.raises(TypeError, match=r"policy=.* is not possible; it takes"):
        mtl_gym.evaluate(policy, gym.make("MTLRouting-Digits-v0"))


@pytest.mark.parametrize("arguments", [{"total_timesteps": "ten"}, {"total_timesteps": 4, "log_interval": 0}])
def test_arguments_of_learn_are_refused_before_anything_is_trained(arguments):
    agent = TaskSpecificAll("MTLRouting-Digits-v0")
    with pytest.raises(ValueError, match=r"(total_timesteps='ten'|log_interval=0) is not possible"):
        agent.learn(**arguments)
    assert agent.num_timesteps == 0
