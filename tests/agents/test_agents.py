"""Properties of all bundled agents, and routes of fixed agents."""

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import (
    WPL,
    Assignment,
    Dispatched,
    HardeningMixture,
    InputAssignment,
    QNetwork,
    Random,
    RandomFixed,
    Reinforce,
    ReinforceSingle,
    Shared,
    SoftMixture,
    TabularPolicyGradient,
    TabularQ,
    TabularQHistory,
    TaskSpecificAll,
    TaskSpecificLast,
)
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback, StopTrainingOnMaxEpisodes
from torch import nn

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents import stand_ins

DIGITS = "MTLRouting-Digits-v0"
TABULAR = [WPL, TabularPolicyGradient, TabularQ, TabularQHistory]
AGENTS = [
    *TABULAR,
    Reinforce,
    ReinforceSingle,
    QNetwork,
    Assignment,
    InputAssignment,
    Dispatched,
    HardeningMixture,
    Random,
    RandomFixed,
    Shared,
    SoftMixture,
    TaskSpecificAll,
    TaskSpecificLast,
]


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.__name__)
def agent_class(request):
    return request.param


def rows(agent_class, num_envs):
    return make_vec_env(DIGITS, num_envs, **agent_class.ENV_KWARGS)


def figures(agent):
    tables = agent._tables() | {f"row {name}": table for name, table in agent._rows().items()}
    return {name: table.copy() for name, table in tables.items()}


def assert_equal(first, second):
    for name, table in figures(first).items():
        np.testing.assert_array_equal(table, figures(second)[name])


def test_an_agent_learns_on_every_kind_of_environment(agent_class):
    kwargs = agent_class.ENV_KWARGS
    for env in (DIGITS, gym.make(DIGITS, **kwargs), gym.make_vec(DIGITS, num_envs=4, **kwargs), rows(agent_class, 4)):
        agent = agent_class(env, seed=0).learn(24)
        assert agent.num_timesteps == 24


def test_learning_trains_the_network(agent_class):
    env = rows(agent_class, 16)
    agent = agent_class(env, seed=0)
    agent.learn(32 * env.observation_space["depth"].n)
    assert env.batched.updates == 2


def test_a_seed_determines_an_agent(agent_class):
    first, second = (agent_class(rows(agent_class, 8), seed=3).learn(240) for _ in range(2))
    assert_equal(first, second)
    parameters = [agent.env.batched.network.parameters() for agent in (first, second)]
    assert all((mine == theirs).all() for mine, theirs in zip(*parameters, strict=True))


def test_a_saved_agent_continues_identically(agent_class, tmp_path):
    env = rows(agent_class, 8)
    agent = agent_class(env, seed=0).learn(200)
    agent.save(tmp_path / "agent.pt")
    other = rows(agent_class, 8)
    other.batched.load_state_dict(env.batched.state_dict())
    loaded = agent_class.load(tmp_path / "agent.pt", other)
    assert_equal(agent, loaded)
    assert loaded.num_timesteps == 200
    agent.learn(200, reset_num_timesteps=False)
    loaded.learn(200, reset_num_timesteps=False)
    assert_equal(agent, loaded)
    for mine, theirs in zip(env.batched.network.parameters(), other.batched.network.parameters(), strict=True):
        assert (mine == theirs).all()


def test_a_loaded_agent_predicts_without_an_environment_and_acts_in_one_of_another_width(agent_class, tmp_path):
    agent = agent_class(rows(agent_class, 8), seed=0).learn(96)
    agent.save(tmp_path / "agent.pt")
    loaded = agent_class.load(tmp_path / "agent.pt")
    obs = {"task": np.arange(10), "depth": np.zeros(10, int), "value": np.ones((10, 64), np.float32)}
    if agent_class is not Random:
        choices = [a.predict(obs, deterministic=True)[0] for a in (agent, loaded)]
        np.testing.assert_array_equal(*choices)
    with pytest.raises(ValueError, match="give it one with set_env"):
        loaded.learn(10)
    wider = agent_class.load(tmp_path / "agent.pt", rows(agent_class, 3))
    wider.learn(30)


def test_predict_takes_one_observation_or_many(agent_class):
    agent = agent_class(DIGITS, seed=0)
    value = np.ones((5, 64), np.float32)
    one, _ = agent.predict({"task": np.int64(3), "depth": np.int64(1), "value": value[0]})
    assert np.shape(one) == ()
    many, _ = agent.predict({"task": np.arange(5), "depth": np.ones(5, int), "value": value})
    assert many.shape == (5,)


def test_sb3s_callbacks_and_progress_bar_work(agent_class, tmp_path):
    env = rows(agent_class, 4)
    callbacks = [
        CheckpointCallback(24, str(tmp_path)),
        EvalCallback(rows(agent_class, 4), eval_freq=24, n_eval_episodes=4, verbose=0, warn=False),
    ]
    agent_class(env, seed=0).learn(120, callback=callbacks)
    assert any(tmp_path.iterdir())
    agent = agent_class(env, seed=0).learn(1200, callback=StopTrainingOnMaxEpisodes(2))
    assert agent.num_timesteps == 8 * env.observation_space["depth"].n  # two episodes in each of the four rows


def test_a_file_with_another_agent_is_rejected(tmp_path):
    RandomFixed(DIGITS, seed=0).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="holds RandomFixed, not WPL"):
        WPL.load(tmp_path / "agent.pt")


def test_an_agent_for_other_sizes_is_rejected(tmp_path):
    agent = WPL(DIGITS, seed=0)
    agent.save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=r"\[10, 3, 11\] tasks, depths and actions"):
        WPL.load(tmp_path / "agent.pt", gym.make(DIGITS, blocks=3))
    with pytest.raises(ValueError, match=r"\(10, 3, 11\) tasks, depths and actions"):
        agent.set_env(gym.make(DIGITS, blocks=3))


def test_a_missing_environment_option_is_rejected():
    with pytest.raises(ValueError, match=r"SoftMixture needs.*mixture="):
        SoftMixture(make_vec_env(DIGITS, 2))
    with pytest.raises(ValueError, match=r"Dispatched needs.*dispatch="):
        Dispatched(gym.make(DIGITS))


def test_an_environment_of_another_kind_is_rejected():
    with pytest.raises(ValueError, match="needs a Dict observation with 'task' and 'depth'"):
        WPL(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="needs a Dict observation"):
        WPL(gym.wrappers.FlattenObservation(gym.make(DIGITS)))


@pytest.mark.parametrize("router", [*TABULAR, Reinforce, InputAssignment])
def test_routers_of_layers_reject_a_pool_of_modules(router):
    with pytest.raises(ValueError, match="modules chosen so far"):
        router("MTLLimitless-Digits-v0")


def test_the_static_baselines_follow_their_routes():
    env = stand_ins.routing(1, 4, 3, 5)
    assert TaskSpecificAll(env).routes.tolist() == [[t, t, t] for t in range(4)]
    assert TaskSpecificLast(env).routes.tolist() == [[0, 0, t] for t in range(4)]
    assert Shared(env).routes.tolist() == [[0, 0, 0]] * 4


def test_fixed_routes_contain_only_existing_blocks():
    layers = [RoutedLayer([nn.Linear(64, 8) for _ in range(2)]), RoutedLayer([nn.Linear(8, 2) for _ in range(10)])]
    network = RoutedNetwork(None, layers, (64,))
    for env in (gym.make(DIGITS, network=network), gym.make_vec(DIGITS, num_envs=2, network=network)):
        assert TaskSpecificAll(env).routes.tolist() == [[t % 2, t] for t in range(10)]
        assert RandomFixed(env, seed=0).routes.max(0).tolist()[0] == 1


def test_random_fixed_draws_constant_routes_from_its_seed():
    env = make_vec_env(DIGITS, 8)
    agent = RandomFixed(env, seed=0)
    before = agent.routes.copy()
    agent.learn(240)
    np.testing.assert_array_equal(agent.routes, before)
    assert not np.array_equal(RandomFixed(env, seed=1).routes, before)
    assert before.max() < 10  # never PASS


def test_random_draws_every_valid_choice_and_no_other():
    agent = Random(stand_ins.routing(1, 2, 3, 4), seed=0)
    obs = {"task": np.zeros(500, int), "depth": np.zeros(500, int)}
    masks = np.tile([True, False, True, True], (500, 1))
    assert set(agent.predict(obs, action_masks=masks)[0]) == {0, 2, 3}
    assert set(agent.predict(obs)[0]) == {0, 1, 2, 3}


def test_returns_are_sums_of_later_collaboration_and_final_rewards():
    agent = WPL(stand_ins.routing(2, 1, 3, 2), gamma=0.5)
    agent._rewards = np.array([[1.0, 2.0, 4.0], [3.0, 9.0, 9.0]])
    agent._length = np.array([3, 1])
    assert agent._returns(np.array([0, 1])).tolist() == [[3.0, 4.0, 4.0], [3.0, 0.0, 0.0]]


def test_wpl_routes_digits_better_than_chance():
    """One-vs-rest on ten digits: a constant answer no is right in 90%."""
    agent = WPL(make_vec_env(DIGITS, 64), seed=0).learn(120_000)
    result = mtl_gym.evaluate(agent, agent.env.batched)
    assert result.mean_accuracy > 0.95
    assert agent.policy.max(-1).mean() > 0.9


def test_repr_names_the_agent_and_its_hyperparameters():
    assert repr(WPL(DIGITS)).startswith("WPL(gamma=1.0, collaboration=0.0, policy_learning_rate=0.03, ")
