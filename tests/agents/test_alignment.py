import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import DecomposedEA, FixedAlignment, RandomAlignment
from mtl_agents.alignment.evolution import generations_to_optimum, sampled
from mtl_agents.random import Random

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab.agents import find_agent, options_for

ID = "MTLAlignment-Linear-v0"
SHORT = {"data": "generated-linear", "generations": 4, "iterations": 3, "final_generations": 1, "device": "cpu"}
AGENTS = [DecomposedEA, FixedAlignment, RandomAlignment]


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.__name__)
def agent_class(request):
    return request.param


def make(runs=2, **options):
    return gym.make_vec(ID, num_envs=runs, **SHORT | options)


def proposals(agent, assignment):
    return agent.predict({"assignment": np.asarray(assignment)})[0].reshape(*np.shape(assignment), -1)


def test_an_agent_learns_and_is_evaluated(agent_class):
    env = make(challengers=2)
    agent = agent_class(env, seed=0).learn(8)
    assert agent.num_timesteps == 8 and env.unwrapped.episodes == 2
    assert (mtl_gym.evaluate(agent, env).episodes == 2 * 50).all()


def test_a_saved_agent_proposes_the_same_with_and_without_an_environment(agent_class, tmp_path):
    agent = agent_class(make(), seed=3)
    agent.save(tmp_path / "agent.pt")
    assignment = np.arange(60).reshape(2, 30) % 7
    first = proposals(agent, assignment)
    for env in (None, make()):
        assert np.array_equal(proposals(agent_class.load(tmp_path / "agent.pt", env), assignment), first)


def test_a_file_for_another_number_of_challengers_is_rejected(tmp_path):
    DecomposedEA(make(), seed=0).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=r"\[30, 30, 1\] locations, modules and challengers"):
        DecomposedEA.load(tmp_path / "agent.pt", make(challengers=3))


def test_an_id_is_made_with_four_challengers_for_half_of_the_locations():
    agent = DecomposedEA(ID, seed=0)
    found = proposals(agent, np.arange(30))
    assert found.shape == (30, 4)
    there = found != agent.none
    assert (there.all(1) == there.any(1)).all() and there.all(1).sum() == 15


def test_an_id_that_sets_the_number_of_challengers_keeps_it():
    said = "MTLAlignment-CrossModal-v0"
    assert gym.spec(said).kwargs["challengers"] == 1
    for env_id, expected in ((ID, {"challengers": 4}), (said, {})):
        assert DecomposedEA.options_for(env_id) == options_for("decomposed-ea", env_id) == expected


def test_proportional_sampling_follows_use_and_uniform_sampling_does_not():
    random = np.random.default_rng(0)
    assignment = np.array([[4] * 24 + [9] * 6])
    drawn = sampled(random, assignment, 30, 200, "proportional")
    assert set(drawn.ravel()) == {4, 9} and (drawn == 4).mean() == pytest.approx(0.8, abs=0.02)
    drawn = sampled(random, assignment, 30, 200, "uniform")
    assert np.bincount(drawn.ravel(), minlength=30).min() > 100


@pytest.mark.parametrize(("decomposition", "probability"), [("location", 1.0), ("task", 1.0), ("model", 1 / 30)])
def test_without_a_share_each_location_is_resampled_with_probability_d_over_l(decomposition, probability):
    agent = DecomposedEA(make(decomposition=decomposition), seed=0, share=None)
    drawn = np.stack([proposals(agent, np.arange(30)) for _ in range(200)])
    assert (drawn != agent.none).mean() == pytest.approx(probability, abs=0.01)


def test_random_proposals_include_unused_modules():
    found = proposals(RandomAlignment(make(), seed=0), np.zeros((2, 30), int))
    assert len(np.unique(found)) > 10


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="share=0"):
        DecomposedEA(make(), share=0)
    with pytest.raises(ValueError, match="sampling='often'"):
        DecomposedEA(make(), sampling="often")
    with pytest.raises(ValueError, match="needs a MTLAlignment environment"):
        DecomposedEA(gym.make_vec("MTLRouting-Digits-v0", num_envs=2))
    with pytest.raises(ValueError, match=r"submappings=7.*30 locations"):
        generations_to_optimum(30, 7)


def test_the_agents_have_names_and_random_acts_in_every_family():
    assert find_agent("decomposed-ea") is DecomposedEA
    assert Random(make(), seed=0).learn(2).num_timesteps == 2


def test_with_one_submapping_per_location_the_time_grows_logarithmically():
    times = [generations_to_optimum(size, size, runs=30).mean() for size in (30, 300, 3000)]
    steps = np.diff(times)
    assert times[-1] < 40 and 0.6 < steps[1] / steps[0] < 1.6


def test_with_one_submapping_the_time_grows_faster_than_the_number_of_locations():
    small, large = (generations_to_optimum(size, 1, runs=10).mean() for size in (20, 80))
    assert large / small > 4
    assert small > 5 * generations_to_optimum(20, 20, runs=10).mean()


def test_uniform_sampling_takes_longer_with_more_modules():
    assert generations_to_optimum(60, 60, "uniform", runs=10).mean() > 60


def test_runs_that_reach_the_limit_are_nan():
    assert np.isnan(generations_to_optimum(200, 1, runs=2, limit=50)).all()


@pytest.mark.parametrize("decomposition", ["location", "task", "model"])
def test_the_number_of_submappings_is_known_without_an_environment(decomposition, tmp_path):
    agent = DecomposedEA(make(decomposition=decomposition, challengers=2), share=None, seed=0)
    agent.save(tmp_path / "agent.pt")
    assert agent.probability == pytest.approx({"location": 1, "task": 1, "model": 1 / 30}[decomposition])
    assert DecomposedEA.load(tmp_path / "agent.pt").probability == agent.probability


@pytest.mark.slow
def test_the_true_groups_are_found_and_the_test_error_vanishes():
    options = {"data": "generated-linear", "challengers": 4, "generations": 120, "final_generations": 120}
    env = gym.make_vec(ID, num_envs=1, device="cpu", **options)
    agent = DecomposedEA(env, seed=0).learn(120)
    result = mtl_gym.evaluate(agent, env)
    assert result.figures["modules_used"].tolist() == [3] and result.figures["groups_found"].all()
    assert result.figures["rmse"][0] < 0.01
