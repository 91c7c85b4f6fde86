"""Routing with secret paths: the truth, its dials, and who finds it."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import RandomFixed, Shared, TabularPolicyGradient, TaskSpecificAll
from mtl_agents.oracle import Oracle
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import mtl_gym
from mtl_gym.families.routing.paths import PathsVectorEnv
from mtl_gym.testing import CHECKS
from tests.families.routing.test_env import weights

ID = "MTLRouting-Paths-v0"
SMALL = {"tasks": 4, "depth": 2, "blocks": 3}


def make(num_envs=16, **options):
    env = PathsVectorEnv(num_envs, **SMALL | options)
    env.reset(seed=0)
    return env


def figure(agent, env):
    return mtl_gym.evaluate(agent, env).figure


def mean_of_all_paths(**options):
    """Mean accuracy over every path, the same for all tasks."""
    env = make(**options)
    paths = np.stack(np.meshgrid(*[range(env.num_blocks)] * env.routed_depth), -1).reshape(-1, env.routed_depth)
    return np.mean([figure(lambda obs, path=path: path[obs["depth"]], env) for path in paths])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(ID, {})


@pytest.mark.filterwarnings("error")
def test_stable_baselines3s_checker_is_content():
    sb3_check_env(gym.make(ID).unwrapped)


def test_a_label_is_what_the_blocks_of_the_secret_path_answer():
    """By hand: tanh of the first block's product, then the largest value of the second's."""
    env = make()
    split = env.data.split("test")
    for row in (0, 100, 255):
        first, second = env.paths[split.task[row]]
        hidden = torch.tanh(env.network.layers[0].blocks[first].weight @ split.x[row])
        assert (env.network.layers[1].blocks[second].weight @ hidden).argmax() == split.y[row]


def test_a_block_is_half_identity_and_half_rotation():
    first, last = (layer.blocks[1].weight.double() for layer in make(hidden=5, classes=3).network.layers)
    own = 2 * first - torch.eye(5)
    torch.testing.assert_close(own @ own.T, torch.eye(5).double(), atol=1e-6, rtol=0)
    own = 2 * last - torch.eye(3, 5)
    torch.testing.assert_close(own @ own.T, torch.eye(3).double(), atol=1e-6, rtol=0)


def test_the_oracle_reaches_the_optimum_and_controls_do_not():
    env = gym.make_vec(ID, 16)
    card = mtl_gym.card(ID)
    assert figure(Oracle(env, seed=0), env) == card.optimum == 100
    for control in (RandomFixed, Shared, TaskSpecificAll):
        assert 20 < figure(control(env, seed=0), env) < 60


def test_the_oracle_earns_one_with_every_last_block_and_nothing_before():
    env = make()
    assert env.step(env.best_actions())[1].tolist() == [0] * 16
    _, reward, terminated, *_ = env.step(env.best_actions())
    assert terminated.all() and reward.tolist() == [1] * 16


def test_no_control_draws_the_secret_paths():
    """Over 51 seeds, 8 tasks: one block in four agrees, and no whole draw does."""
    env = PathsVectorEnv(1)
    agreement = []
    for seed in range(51):
        drawn = RandomFixed(env, seed=seed).routes
        plain = np.random.default_rng(seed).integers(4, size=(8, 3))
        agreement += [drawn == env.paths, plain == env.paths]
    assert not np.all(agreement, axis=(1, 2)).any()
    assert np.mean(agreement) == pytest.approx(0.25, abs=0.03)


def test_the_instance_sets_the_truth_and_the_seed_does_not():
    env, again, other = PathsVectorEnv(2), PathsVectorEnv(2), PathsVectorEnv(2, instance=1)
    env.reset(seed=0), again.reset(seed=1), other.reset(seed=0)
    assert np.array_equal(env.paths, again.paths) and not np.array_equal(env.paths, other.paths)
    assert all(map(torch.equal, weights(env).values(), weights(again).values()))
    assert torch.equal(env.data.split("test").y, again.data.split("test").y)
    assert not torch.equal(weights(env)["layers.0.blocks.0.weight"], weights(other)["layers.0.blocks.0.weight"])


def test_nothing_trains_and_no_update_is_counted():
    env = make(train_batch=4)
    before = weights(env)
    for _ in range(20):
        env.step(env.best_actions())
    assert env.episodes == 160 and env.updates == 0 and len(env._graph.log) <= 8
    assert all(torch.equal(before[name], value) for name, value in weights(env).items())
    assert not list(env.network.parameters())


def test_views_of_every_split_know_the_best_actions():
    env = make()
    assert [mtl_gym.evaluate(Oracle(env), env, split).figure for split in ("train", "validation", "test")] == [100] * 3


def test_a_table_finds_the_paths_from_rewards_alone():
    env = make()
    control, learner = RandomFixed(env, seed=0), TabularPolicyGradient(env, seed=0)
    assert figure(learner.learn(6000), env) > (100 + figure(control, env)) / 2


def test_wrong_paths_answer_worse_with_less_partial_credit():
    means = [mean_of_all_paths(partial_credit=share) for share in (0.75, 0.5, 0.0)]
    assert means[0] > means[1] + 10 and means[1] > means[2] + 5


def test_more_blocks_and_more_layers_leave_less_to_chance():
    assert mean_of_all_paths(blocks=2) > mean_of_all_paths(blocks=3) + 5
    assert mean_of_all_paths(depth=1) > mean_of_all_paths(depth=2) + 5


def test_noise_changes_training_labels_only():
    clean, noisy = make(), make(noise=0.25)
    changed = [
        float((clean.data.split(split).y != noisy.data.split(split).y).float().mean())
        for split in ("train", "validation", "test")
    ]
    assert changed[0] == pytest.approx(0.25, abs=0.05) and changed[1:] == [0, 0]
    assert figure(Oracle(noisy), noisy) == 100


@pytest.mark.parametrize(
    "options, message",
    [
        ({"data": "digits"}, "data='digits' is not possible; it takes 'routing-paths' only"),
        ({"network": lambda context: None}, "network=.* takes None only"),
        ({"dispatch": 2}, "dispatch=2 is not possible"),
        ({"mixture": True}, "mixture=True is not possible"),
        ({"layering": False}, "layering=False is not possible"),
        ({"classes": 17}, "classes=17 is not possible; it takes at most hidden=16"),
        ({"partial_credit": 1.0}, r"partial_credit=1.0 is not possible; it takes .* from 0, below 1"),
    ],
)
def test_options_that_would_change_the_truth_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PathsVectorEnv(1, **options)
