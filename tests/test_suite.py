"""The benchmark ids: what their cards say holds, and their documentation pages show the cards."""

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents.oracle import Oracle
from stable_baselines3.common.vec_env import DummyVecEnv

import mtl_gym
from benchmarks.cards import benchmarks, block, fill, page_of
from mtl_gym.lab.records import RunSettings
from tests.conftest import ids

# A result above the optimum by more than this share of the distance to the best control refutes the card.
SLACK = 0.05
AT_HAND = [param for param in ids() if param.values[0] in benchmarks()]


def result_of(env_id, agent):
    """The test result of an agent after a quarter of a run."""
    card = mtl_gym.card(env_id)
    settings = RunSettings(env_id, agent, max(card.steps // 4, 1), seed=7, num_envs=card.num_envs)
    env = settings.make_env()
    return mtl_gym.evaluate(settings.make_agent(env).learn(settings.steps), env)


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", AT_HAND)
def test_the_oracle_is_above_every_control_and_nothing_is_above_the_optimum(benchmark):
    card = mtl_gym.card(benchmark)
    oracle = result_of(benchmark, card.oracle)
    controls = {control: result_of(benchmark, control).figure for control in card.controls}
    assert all(oracle.measure.better(oracle.figure, figure) for figure in controls.values()), (oracle.figure, controls)
    if card.optimum is not None:
        nearest = min(abs(card.optimum - figure) for figure in controls.values())
        assert (
            not oracle.measure.better(oracle.figure, card.optimum)
            or abs(oracle.figure - card.optimum) < SLACK * nearest
        )


@pytest.mark.parametrize("benchmark", benchmarks())
def test_a_benchmark_says_how_its_optimum_is_known_and_what_its_dials_do(benchmark):
    card = mtl_gym.card(benchmark)
    assert card.evidence and card.dials
    assert all(dial.effect and len(dial.values) > 1 for dial in card.dials.values())


@pytest.mark.parametrize("benchmark", AT_HAND)
def test_the_page_of_a_benchmark_shows_its_card(benchmark):
    assert not fill(page_of(benchmark), "card", block(benchmark), check=True), "run python benchmarks/cards.py"


@pytest.mark.parametrize("benchmark", AT_HAND)
def test_the_best_actions_are_those_of_episodes_that_have_begun(benchmark):
    env = gym.make_vec(benchmark, num_envs=2).unwrapped
    with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\) before best_actions\(\)"):
        env.best_actions()
    env.reset(seed=0)
    view = env.evaluation_view("test", 3)
    with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\) before best_actions\(\)"):
        view.best_actions()
    view.reset()
    assert view.action_space.contains(view.best_actions())


@pytest.mark.parametrize("benchmark", AT_HAND)
def test_the_oracle_asks_every_environment_of_a_dummy_vec_env(benchmark):
    env = DummyVecEnv([lambda seed=seed: seeded(benchmark, seed) for seed in range(3)])
    agent = Oracle(env, seed=0)
    obs = env.reset()
    best = np.concatenate(env.env_method("best_actions"))
    np.testing.assert_array_equal(agent._act(obs), best)
    agent.learn(6)


def seeded(env_id, seed):
    """A single environment whose task order is its own."""
    env = gym.make(env_id)
    env.reset(seed=seed)
    return env
