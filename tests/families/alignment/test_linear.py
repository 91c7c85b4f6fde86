import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import DecomposedEA, FixedAlignment, RandomAlignment
from mtl_agents.oracle import Oracle
from mtl_agents.random import Random

import mtl_gym
from mtl_gym.families.alignment.linear import LinearVectorEnv, regressions
from mtl_gym.families.alignment.training import JointTraining
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.testing import check_family

ALL, ONE = "MTLAlignment-Linear-v1", "MTLAlignment-LinearDiscrete-v1"
SHORT = {"generations": 4, "iterations": 3}
CONTROLS = {"fixed": FixedAlignment, "random": Random, "random-alignment": RandomAlignment}


class WithGraph(LinearVectorEnv):
    """The same environment, trained by autograd."""

    TRAINING = JointTraining


def linear(runs=2, kind=LinearVectorEnv, **options):
    env = kind(runs, **SHORT | {"device": "cpu"} | options)
    env.reset(seed=0)
    return env


def figure_of(agent, env_id, runs=16, **options):
    env = make_vec_env(env_id, runs, seed=0, device="cpu", **options)
    return mtl_gym.evaluate(agent(env, seed=0), env).figure


@pytest.mark.parametrize("share", [None, 0.3])
def test_gradients_in_closed_form_equal_those_of_autograd(share):
    options = {"challengers": 3, "modules": 7, "challenger_share": share, "noise": 0.2}
    fast, slow = linear(**options), linear(kind=WithGraph, **options)
    random = np.random.default_rng(0)
    for _ in range(3):
        actions = random.integers(8, size=fast.action_space.shape)
        ours, theirs = fast.step(actions), slow.step(actions)
        assert np.array_equal(ours[0]["assignment"], theirs[0]["assignment"])
        assert np.ptp(theirs[0]["score"]) > 0.05
        np.testing.assert_allclose(ours[0]["score"], theirs[0]["score"], atol=1e-5)
        np.testing.assert_allclose(ours[0]["train_loss"], theirs[0]["train_loss"], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4)


def test_modules_that_do_not_compete_keep_their_values():
    env = linear(1, modules=5, start=[0, 1] * 15)
    before = env.network.hypermodules.detach().clone()
    env.step(np.full((1, 30), 2))
    changed = (env.network.hypermodules.detach() != before).flatten(2).any(2)[0]
    assert changed.tolist() == [True, True, True, False, False]


def test_weight_vectors_of_a_group_differ_only_by_a_factor():
    data = regressions(0.0, 0)
    weights = np.stack([torch.linalg.lstsq(*task.splits["test"]).solution[:, 0].numpy() for task in data.tasks])
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    groups = np.array(data.groups)
    assert np.bincount(groups).tolist() == [10, 10, 10]
    assert ((unit @ unit.T > 0.999) == (groups[:, None] == groups)).all()


def test_the_groups_are_no_draw_of_a_small_seed():
    groups = np.array(regressions(0.0, 0).groups)
    for seed in range(100):
        assert not np.array_equal(groups, np.random.default_rng(seed).permutation(30) % 3)
        assert not np.array_equal(groups, np.random.default_rng(seed).integers(3, size=30))
    assert not np.array_equal(groups, np.arange(30) % 3) and not np.array_equal(groups, np.arange(30) // 10)


def test_with_three_modules_each_begins_with_six_two_and_two_tasks_of_the_groups():
    for instance in range(5):
        groups = np.array(regressions(0.0, instance).groups)
        for module in range(3):
            counts = np.bincount(groups[module::3], minlength=3)
            assert sorted(counts) == [2, 2, 6] and counts.argmax() == module


def test_another_instance_has_other_groups_and_a_seed_has_not():
    env, other = linear(), linear(instance=1)
    env.reset(seed=5)
    assert env.data.groups == regressions(0.0, 0).groups != other.data.groups


def test_noise_is_added_to_the_same_targets():
    clean, noisy = (torch.stack([task.splits["test"][1] for task in regressions(n, 0).tasks]) for n in (0.0, 0.5))
    assert (noisy - clean).std().item() == pytest.approx(0.5, rel=0.05)


def test_the_figure_is_the_root_of_each_tasks_error_mean_over_tasks():
    env = linear()
    assert env.figure(np.zeros(30), np.array([4.0] * 15 + [1.0] * 15)) == 1.5
    assert not env.measure.higher


def test_the_reward_is_the_decrease_of_the_relative_error_on_held_out_samples():
    env = linear()
    _, before = env.reset(seed=0)
    _, reward, *_, after = env.step(np.full((2, 30), 30))
    variance = np.array([task.splits["train"][1].var(correction=0).item() for task in env.data.tasks])
    expected = ((before["validation_loss"] - after["validation_loss"]) / variance).mean(1)
    np.testing.assert_allclose(reward, expected, rtol=1e-4)


def test_with_one_location_per_decision_locations_take_turns():
    one, whole = linear(modules=3, action="one"), linear(modules=3)
    for location in range(3):
        obs, _ = one.current()
        assert obs["location"].tolist() == [location] * 2
        challengers = np.full((2, 30), 3)
        challengers[:, location] = [(location + 1) % 3, 3]
        left, reward, *_ = one.step(challengers[:, location])
        _, expected, *_ = whole.step(challengers)
        assert np.array_equal(reward, expected) and left["left"][0, 0] == pytest.approx(1 - (location + 1) / 4)


def test_the_oracle_proposes_one_module_per_group():
    env = linear(1, modules=4)
    groups = np.array(env.data.groups)
    env.training.assign(np.array([[3, 0, 1]])[:, groups])
    assert (env.best_actions() == 4).all()  # as it should be
    mixed = np.array([3, 0, 1])[groups]
    strays = [int(np.flatnonzero(groups == group)[0]) for group in range(3)]
    mixed[strays] = 2
    env.training.assign(mixed[None])
    assert env.best_actions()[0, strays].tolist() == [3, 0, 1] and (env.best_actions() == 4).sum() == 27


def test_groups_with_the_same_module_are_told_to_part():
    env = linear(1, modules=3, start=[1] * 30)
    groups = np.array(env.data.groups)
    assert env.best_actions()[0].tolist() == np.array([3, 0, 2])[groups].tolist()


@pytest.mark.parametrize("benchmark_id", [ALL, ONE])
def test_the_oracle_knows_the_runs_of_an_evaluation_view(benchmark_id):
    env = gym.make_vec(benchmark_id, num_envs=2, device="cpu", **SHORT).unwrapped
    env.reset(seed=0)
    view = env.evaluation_view()
    view.reset()
    assert np.array_equal(view.best_actions(), env.best_actions())
    env.step(env.best_actions())
    assert view.step(view.best_actions())[1].max() > 0  # a run of its own, which pays


@pytest.mark.parametrize("control", CONTROLS)
def test_the_oracle_finds_the_groups_and_no_control_does(control):
    assert figure_of(Oracle, ALL) < 0.02
    assert figure_of(CONTROLS[control], ALL) > 0.25


@pytest.mark.parametrize("control", CONTROLS)
def test_the_oracle_beats_every_control_one_location_at_a_time(control):
    assert figure_of(Oracle, ONE) < 0.05
    assert figure_of(CONTROLS[control], ONE) > 0.5


def test_a_decision_about_one_location_always_changes_its_module():
    env = gym.make_vec(ONE, num_envs=8, device="cpu").unwrapped
    obs, _ = env.reset(seed=0)
    random = np.random.default_rng(0)
    for location in range(30):
        chosen = random.integers(4, size=8)
        expected = np.where(chosen == 3, obs["assignment"][:, location], chosen)
        obs, *_ = env.step(chosen)
        assert np.array_equal(obs["assignment"][:, location], expected)


def test_the_decomposed_algorithm_closes_much_of_the_distance():
    assert figure_of(DecomposedEA, ALL) < figure_of(RandomAlignment, ALL) - 0.1


def test_noise_brings_the_oracle_nearer_to_the_controls():
    clean, noisy = ({"noise": noise} for noise in (0.0, 1.0))
    gaps = [figure_of(Random, ALL, **o) - figure_of(Oracle, ALL, **o) for o in (clean, noisy)]
    assert gaps[0] > 2 * gaps[1]


def test_agents_that_propose_for_all_locations_act_on_the_one_whose_turn_it_is():
    env = make_vec_env(ONE, 3, seed=0, device="cpu", **SHORT)
    obs = env.reset()
    assert FixedAlignment(env, seed=0).predict(obs)[0].tolist() == [3, 3, 3]
    agent = RandomAlignment(env, seed=0, share=1.0)
    drawn = np.concatenate([agent.predict(obs)[0] for _ in range(30)])
    assert drawn.shape == (90,) and set(drawn.tolist()) == {0, 1, 2}
    single = {name: part[0] for name, part in obs.items()}
    assert agent.predict(single)[0].shape == ()


@pytest.mark.parametrize("benchmark_id", [ALL, ONE])
def test_the_ids_keep_the_contract(benchmark_id):
    check_family(benchmark_id, **SHORT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "linear"}, "'grouped-regressions' only"),
        ({"block": (5, 1)}, r"\(20, 1\) only"),
        ({"context": 2}, "1 only"),
        ({"minibatch": 4}, "None only"),
        ({"decomposition": "model"}, "'location' only"),
        ({"action": "two"}, "one of"),
        ({"action": "one", "challengers": 2}, "1 with action='one'"),
        ({"noise": -1.0}, "noise=-1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LinearVectorEnv(1, **options)
