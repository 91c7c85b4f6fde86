"""Agents that learn in several runs at once, each run as an agent of its own would."""

import numpy as np
import pytest
import torch
from mtl_agents.oracle import Oracle
from mtl_agents.random import Random, RandomFixed
from mtl_agents.routing.assignment import Assignment
from mtl_agents.routing.controls import Separate, Shared, SoftMixture, TaskSpecificAll, TaskSpecificLast
from mtl_agents.routing.reinforce import Reinforce
from mtl_agents.routing.tables import TabularPolicyGradient, TabularQ, TabularQHistory
from mtl_agents.routing.wpl import WPL
from mtl_agents.scheduling.bandits import ODM, TargetGain
from mtl_agents.scheduling.rules import Greedy, Uniform
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize

import mtl_gym
from mtl_gym.integrations.sb3 import as_vec_env

RUNS, SEED = 3, 5
CASES = [
    (Assignment, "MTLRouting-Groups-v0", {}),
    (Assignment, "MTLRouting-Paths-v0", {"warm_up": 0.3}),
    (WPL, "MTLRouting-Paths-v0", {}),
    (WPL, "MTLRouting-Groups-v0", {"average": "action"}),
    (TabularPolicyGradient, "MTLRouting-Groups-v0", {"collaboration": 0.5}),
    (TabularQ, "MTLRouting-Paths-v0", {}),
    (TabularQHistory, "MTLRouting-Paths-v0", {"exploration_fraction": 0.7}),
    (Random, "MTLRouting-Digits-v0", {}),
    (RandomFixed, "MTLRouting-Paths-v0", {}),
    (Oracle, "MTLRouting-Groups-v0", {}),
    (Shared, "MTLRouting-Groups-v0", {}),
    (TaskSpecificAll, "MTLRouting-Groups-v0", {}),
    (TaskSpecificLast, "MTLRouting-Paths-v0", {}),
    (Separate, "MTLRouting-Groups-v0", {}),
    (SoftMixture, "MTLRouting-Groups-v0", {}),
    (Uniform, "MTLScheduling-Skills-v0", {}),
    (Greedy, "MTLScheduling-Prerequisites-v0", {}),
    (ODM, "MTLScheduling-Skills-v0", {}),
    (TargetGain, "MTLScheduling-TextMixture-v0", {}),
]


def flat(state, place=""):
    if isinstance(state, dict):
        return [pair for key in sorted(state, key=str) for pair in flat(state[key], f"{place}.{key}")]
    if isinstance(state, (list, tuple)):
        return [pair for i, part in enumerate(state) for pair in flat(part, f"{place}.{i}")]
    return [(place, state.numpy() if isinstance(state, torch.Tensor) else state)]


def is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def equal(mine, theirs):
    mine, theirs = flat(mine), flat(theirs)
    assert [place for place, _ in mine] == [place for place, _ in theirs]
    pairs = zip(mine, theirs, strict=True)
    return [place for (place, a), (_, b) in pairs if not np.array_equal(a, b, equal_nan=is_float(a))]


@pytest.mark.parametrize(("kind", "benchmark", "arguments"), CASES)
def test_every_run_learns_as_an_agent_of_its_own(kind, benchmark, arguments):
    options = dict(kind.options_for(benchmark))
    several = mtl_gym.make_vec_env(benchmark, num_envs=16, runs=RUNS, **options)
    agent = kind(several, seed=SEED, **arguments).learn(1000)
    agent.learn(200, reset_num_timesteps=False)
    for run in range(RUNS):
        env = mtl_gym.make_vec_env(benchmark, num_envs=16, **options)
        alone = kind(env, seed=SEED + run, **arguments).learn(1000)
        alone.learn(200, reset_num_timesteps=False)
        solo = agent.solo(run)
        assert equal(solo.state_dict() | {"episodes": []}, alone.state_dict() | {"episodes": []}) == []
        assert solo.seed == SEED + run
        assert equal(several.batched.of_run(run).state_dict(), env.batched.state_dict()) == []
        theirs = mtl_gym.evaluate(alone, env, deterministic=False)
        assert mtl_gym.evaluate(solo, several.batched.of_run(run), deterministic=False).figure == theirs.figure


def test_states_of_several_runs_continue_exactly(tmp_path):
    def made():
        return Assignment(mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=16, runs=2), seed=1)

    agent = made().learn(320)
    twin = made()
    twin.learn(16)
    twin.env.load_state_dict(agent.env.state_dict())
    twin.load_state_dict(agent.state_dict())
    for one in (agent, twin):
        one.learn(160, reset_num_timesteps=False)
    assert equal(agent.state_dict(), twin.state_dict()) == []
    loaded = Assignment.load(agent.save(tmp_path / "agent.pt"), agent.env)
    assert equal(loaded.state_dict(), agent.state_dict()) == []


def test_an_agent_of_one_run_says_so():
    several = mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=4, runs=2)
    with pytest.raises(ValueError, match=r"one run at a time.*has 2"):
        Reinforce(several)
    agent = Assignment(several, seed=0)
    with pytest.raises(ValueError, match=r"solo\(0\)"):
        mtl_gym.evaluate(agent, several.batched.of_run(0))
    with pytest.raises(ValueError, match="learned in 2 runs; this environment has 1"):
        agent.set_env(mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=4))
    with pytest.raises(ValueError, match="runs 0 to 1"):
        agent.solo(2)


PREDICTING = [case for case in CASES if case[0] in (Assignment, WPL, TabularQHistory, Random, RandomFixed)]


@pytest.mark.parametrize(("kind", "benchmark", "arguments"), PREDICTING)
def test_each_run_answers_its_own_rows(kind, benchmark, arguments):
    several = as_vec_env(mtl_gym.make_vec_env(benchmark, num_envs=16, runs=RUNS))
    agent = kind(several, seed=SEED, **arguments).learn(400)
    obs = several.reset()
    alone = [agent.solo(run) for run in range(RUNS)]
    parts = [{name: part[run * 16 : run * 16 + 16] for name, part in obs.items()} for run in range(RUNS)]
    for deterministic in (True, False):
        together = agent.predict(obs, deterministic=deterministic)[0]
        apart = [one.predict(part, deterministic=deterministic)[0] for one, part in zip(alone, parts, strict=True)]
        np.testing.assert_array_equal(together, np.concatenate(apart))
    for rows, said in ((parts[0], "16"), ({name: part[0] for name, part in obs.items()}, "a single one")):
        with pytest.raises(ValueError, match=rf"in 3 runs and answers all 48 rows .*, not {said}: use"):
            agent.predict(rows)


def test_sb3_evaluates_no_agent_of_several_runs_in_an_environment_of_one():
    agent = Assignment(mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=16, runs=RUNS), seed=SEED).learn(100)
    one = as_vec_env(mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=16))
    with pytest.raises(ValueError, match=r"use agent\.solo\(run\)"):
        evaluate_policy(agent, one, n_eval_episodes=4, warn=False)
    assert evaluate_policy(agent.solo(1), one, n_eval_episodes=4, warn=False)


def test_the_agent_of_one_run_does_not_lose_wrappers_that_count():
    made = [as_vec_env(mtl_gym.make_vec_env("MTLScheduling-Skills-v0", num_envs=4, runs=runs)) for runs in (2, 1)]
    assert Random(VecMonitor(made[0]), seed=0).solo(1).env.num_envs == 4
    agent = Random(VecFrameStack(made[0], 2), seed=0)
    with pytest.raises(ValueError, match=r"no copy of VecFrameStack for a single run: .* solo\(1, env\)"):
        agent.solo(1)
    assert agent.solo(1, VecFrameStack(made[1], 2)).observation_space == agent.observation_space


def test_a_rule_of_several_runs_says_so():
    env = mtl_gym.make_vec_env("MTLScheduling-Skills-v0", num_envs=4, runs=2)
    rule = Uniform(env, seed=0)
    with pytest.raises(ValueError, match=r"answers all 8 rows .*, not 4: use agent\.solo"):
        rule.predict(rule.env.reset()[:4])


def test_the_only_run_of_an_agent_is_a_copy_of_it():
    agent = Assignment(mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=4), seed=0).learn(40)
    solo = agent.solo(0)
    assert equal(solo.state_dict() | {"episodes": []}, agent.state_dict() | {"episodes": []}) == []
    solo.learn(40, reset_num_timesteps=False)
    agent.learn(40, reset_num_timesteps=False)
    assert equal(solo.state_dict() | {"episodes": []}, agent.state_dict() | {"episodes": []}) == []


def test_an_agent_of_several_runs_is_loaded_as_such(tmp_path):
    agent = Assignment(mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=4, runs=2), seed=0).learn(40)
    path = agent.save(tmp_path / "agent.pt")
    assert Assignment.load(path).runs == 2
    assert equal(Assignment.load(path).solo(1).state_dict(), agent.solo(1).state_dict()) == []
    with pytest.raises(ValueError, match="2 runs"):
        Assignment.load(path, mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=4, runs=3))


def test_observations_are_not_normalised_over_several_runs():
    several = mtl_gym.make_vec_env("MTLRouting-Groups-v0", num_envs=4, runs=2)
    with pytest.raises(ValueError, match="one mean for all runs"):
        Assignment(VecNormalize(several, norm_obs_keys=["value"]))
