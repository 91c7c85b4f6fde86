"""Limitless routing with right networks: the truth, its dials, and who finds it."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import RandomFixed
from mtl_agents.oracle import Oracle
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import mtl_gym
from mtl_gym.families.limitless import execution
from mtl_gym.families.limitless.paths import PathsVectorEnv, right_networks
from mtl_gym.families.limitless.pool import PoolLayout
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.agents import make_sb3
from mtl_gym.testing import CHECKS
from tests.families.limitless.pools import valid_actions

ID = "MTLLimitless-Paths-v0"


def make(num_envs=16, **options):
    env = PathsVectorEnv(num_envs, **options)
    env.reset(seed=0)
    return env


def figure(agent, env):
    return mtl_gym.evaluate(agent, env).figure


def mean_of_networks(**options):
    """Mean accuracy over 60 random networks of full length, the same for all tasks."""
    env = make(**options)
    split = env.data.split("test")
    drawn = right_networks(env.network.layout, env.max_depth, 60, np.random.default_rng(0))
    answers = [execution.run(env.network, split.x, np.repeat(one[None], len(split), 0)).argmax(1) for one in drawn]
    return 100 * np.mean([(answer == split.y).float().mean() for answer in answers])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(ID, {})


@pytest.mark.filterwarnings("ignore:It seems that your observation", "ignore:The minimal resolution for an image")
def test_stable_baselines3s_checker_is_content():
    sb3_check_env(gym.make(ID).unwrapped)


def test_a_label_is_what_the_modules_of_the_right_network_answer():
    """By hand: products with tanh between, of modules in order, without tanh after the head."""
    env = make()
    split = env.data.split("test")
    for row in (0, 100, 255):
        *modules, head = env.paths[split.task[row]]
        value = split.x[row].flatten()
        for module in modules:
            value = torch.tanh(env.network[module].body[1].weight @ value)
        assert (env.network[head].body[1].weight @ value).argmax() == split.y[row]


def test_right_networks_are_valid_and_of_full_length():
    env = make(tasks=50, max_depth=5)
    assert env.paths.shape == (50, 5) and len(np.unique(env.paths, axis=0)) > 20
    env.reset(seed=0)
    for decision in range(5):
        masks, best = env.action_masks(), env.best_actions()
        assert masks[np.arange(16), best].all()
        terminated = env.step(best)[2]
        assert terminated.tolist() == [decision == 4] * 16


def test_a_pool_that_is_too_small_has_shorter_right_networks():
    """Input to maps, maps to features, a head on features: no network has more than three modules."""
    layout = PoolLayout(np.array([0, 1, 2]), takes=np.array([0, 1, 2]), gives=np.array([1, 2, -1]), shapes=3)
    assert right_networks(layout, 4, 2, np.random.default_rng(0)).tolist() == [[0, 1, 2, -1]] * 2


def test_the_oracle_reaches_the_optimum_and_controls_do_not():
    env = gym.make_vec(ID, 16)
    assert figure(Oracle(env, seed=0), env) == mtl_gym.card(ID).optimum == 100
    assert 20 < np.mean([figure(RandomFixed(env, seed=seed), env) for seed in range(3)]) < 60


def test_the_oracle_earns_one_with_the_head_and_nothing_before():
    env = make()
    rewards = [env.step(env.best_actions())[1].tolist() for _ in range(4)]
    assert rewards == [[0] * 16] * 3 + [[1] * 16]


def test_the_best_action_is_valid_in_every_network():
    env, rng = make(max_depth=5), np.random.default_rng(0)
    for _ in range(200):
        assert env.action_masks()[np.arange(16), env.best_actions()].all()
        env.step(valid_actions(env, rng))


def test_a_network_that_is_partly_right_goes_on_with_the_right_modules():
    env = make(1)
    right = env.paths[env.current()[0]["task"][0]]
    env.step(np.array([1 - right[0]]))  # the other stem
    assert env.best_actions() == right[1]


def test_no_control_draws_the_right_networks():
    env, same = make(), []
    for seed in range(51):
        routes = RandomFixed(env, seed=seed).routes
        same.append((routes == env.paths).all(1))
    assert not np.all(same, 1).any() and np.mean(same) < 0.05


def test_the_instance_sets_the_truth_and_the_seed_does_not():
    env, again, other = make(), make(), make(instance=1)
    again.reset(seed=1)
    weights = [list(one.network.state_dict().values()) for one in (env, again, other)]
    assert all(map(torch.equal, weights[0], weights[1])) and np.array_equal(env.paths, again.paths)
    assert not torch.equal(weights[0][0], weights[2][0]) and not np.array_equal(env.paths, other.paths)


def test_nothing_trains_and_no_update_is_counted():
    env = make(train_batch=4)
    for _ in range(20):
        env.step(env.best_actions())
    assert env.episodes == 80 and env.updates == 0 and env._batch.losses() is None
    assert not list(env.network.parameters())


def test_a_masked_choice_becomes_the_next_valid_one():
    env = make()
    _, _, terminated, _, _ = env.step(np.full(16, 11))  # a head first; counting on, the first stem
    assert not terminated.any() and (env.current()[0]["chosen"][:, 0] == 1).all()
    assert make(invalid="end").step(np.full(16, 11))[2].all()


def test_wrong_networks_answer_worse_with_less_partial_credit():
    means = [mean_of_networks(partial_credit=share) for share in (0.75, 0.5, 0.0)]
    assert means[0] > means[1] + 10 and means[1] > means[2] + 5


def test_more_duplicates_leave_less_to_chance():
    """The share of random networks that are right: in a pool with two modules of a kind about one in forty."""
    drawn = []
    for duplicates in (2, 4):
        layout = make(duplicates=duplicates).network.layout
        drawn.append(len(np.unique(right_networks(layout, 4, 2000, np.random.default_rng(0)), axis=0)))
    assert drawn[0] == 2 * (2 * 1 * 2 + 2 * 2 * 2 + 2 * 2 * 2) and drawn[1] > 10 * drawn[0]


@pytest.mark.slow
def test_maskable_ppo_climbs_half_way():
    env = make_vec_env(ID, 64, seed=0, tasks=2)
    agent = make_sb3("maskable-ppo", env, seed=0, training=20_000).learn(20_000)
    assert figure(agent, env) > 70


@pytest.mark.parametrize(
    "options, message",
    [
        ({"data": "digits"}, "data='digits' is not possible; it takes 'limitless-paths' only"),
        ({"network": lambda context: None}, "network=.* takes None only"),
        ({"image_shape": [4]}, "image_shape=.* takes three numbers"),
        ({"classes": 17}, "classes=17 is not possible; it takes at most hidden=16"),
        ({"max_depth": 1}, "max_depth=1 is too small"),
    ],
)
def test_options_that_would_change_the_truth_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PathsVectorEnv(1, **options)
