"""Sequences of changing regimes: the truth, what modules see, and the distance of the oracle from the controls."""

from itertools import product

import numpy as np
import pytest
import torch

import mtl_gym
from mtl_gym.families.recurrent.regimes import CUE, SEQUENCES, Truth, changing, most_likely, switching
from mtl_gym.families.recurrent.switching import SwitchingVectorEnv
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.agents import find_agent
from mtl_gym.registration import card
from mtl_gym.testing import check_family

ID = "MTLRecurrent-Switching-v0"


def problem(regimes=4, tasks=4, noise=0.0, instance=0):
    return switching(regimes, tasks, 12, 3, noise, instance)


def regimes_of(made, split="test"):
    """Return the regime that the cues of a problem without noise tell; int64 [sequences, steps]."""
    return made.data.split(split).x[:, :, len(made.truth.rules) :].numpy().argmax(2)


def rule_of(made, split="test"):
    """Return the rule that gives the labels; int64 [sequences, steps]."""
    part = made.data.split(split)
    first = (part.x[:, :, :4].numpy() @ made.truth.rules[0]).argmax(2)
    return (part.y.numpy() - first) % 4


def trained(agent, steps=9_600, **kwargs):
    env = make_vec_env(ID, 64, 0, **kwargs)
    learner = find_agent(agent)(env, seed=0)
    learner.learn(steps)
    return mtl_gym.evaluate(learner, env).figure


def figure_of(choose, steps=9_600):
    """Return the figure after training by a function of the observation that names one module per row."""
    env = make_vec_env(ID, 64, 0, noise=0.0)
    policy = lambda obs: np.eye(4, dtype=np.int8)[choose(obs)]  # noqa: E731
    obs = env.reset()
    for _ in range(steps // 64):
        obs, *_ = env.step(policy(obs))
    return mtl_gym.evaluate(policy, env).figure


def test_the_label_is_the_largest_output_of_the_rule_that_the_task_asks_for():
    made = problem()
    part = made.data.split("test")
    x, regimes = part.x[:, :, :4].numpy(), regimes_of(made)
    for row in range(0, len(part), 37):
        for step in range(12):
            rule = made.truth.asked[part.task[row], regimes[row, step]]
            assert made.best["test"][row, step] == rule
            assert part.y[row, step] == (x[row, step] @ made.truth.rules[rule]).argmax()


def test_rules_are_orthogonal_and_shift_the_classes():
    truth = problem().truth
    flat = truth.rules.reshape(4, -1)
    np.testing.assert_allclose(flat @ flat.T, 4 * np.eye(4), atol=1e-5)
    x = np.random.default_rng(0).normal(size=4)
    answers = [(x @ rule).argmax() for rule in truth.rules]
    assert [(answer - answers[0]) % 4 for answer in answers] == [0, 1, 2, 3]


@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_a_regime_asks_for_another_rule_in_every_task_and_a_task_for_every_rule(tasks):
    asked = problem(tasks=tasks).truth.asked
    assert (np.sort(asked, axis=1) == np.arange(4)).all()
    for start in range(0, tasks, 4):
        assert all(len(set(column)) == min(tasks, 4) for column in asked[start : start + 4].T.tolist())


def test_the_regime_changes_every_third_step_and_only_then():
    regimes = changing(2000, 4, 12, 3, np.random.default_rng(0))
    changes = regimes[:, 1:] != regimes[:, :-1]
    assert (changes == (np.arange(1, 12) % 3 == 0)).all()
    shares = np.stack([(regimes == one).mean(0) for one in range(4)])
    assert np.abs(shares - 0.25).max() < 0.04


def test_the_most_likely_regime_is_that_of_all_histories_weighed_by_likelihood():
    random, noise, steps = np.random.default_rng(0), 2.0, 6
    truth = changing(40, 3, steps, 2, random)
    cue = CUE * np.eye(3)[truth] + noise * random.normal(size=(40, steps, 3))
    histories = [h for h in product(range(3), repeat=3) if h[0] != h[1] != h[2]]
    paths = np.repeat(np.array(histories), 2, axis=1)
    for step in range(steps):
        error = ((cue[:, None, : step + 1] - CUE * np.eye(3)[paths][:, : step + 1]) ** 2).sum((2, 3))
        weight = np.exp(-error / (2 * noise**2))
        by_regime = np.stack([weight[:, paths[:, step] == one].sum(1) for one in range(3)], 1)
        assert (most_likely(cue, 2, noise)[:, step] == by_regime.argmax(1)).all()
    assert (most_likely(cue, 2, noise) != cue.argmax(2)).any()
    assert (most_likely(CUE * np.eye(3)[truth], 2, 0.0) == truth).all()


def test_more_noise_hides_the_regime_more_often():
    right = [(problem(noise=noise).best["test"] == rule_of(problem(noise=noise))).mean() for noise in (0.5, 1, 2, 4)]
    assert right[0] > 0.999 and (np.diff(right) < 0).all() and right[-1] > 0.3


def test_labels_say_nothing_about_the_regime():
    made = problem()
    regimes, labels = regimes_of(made, "train"), made.data.split("train").y.numpy()
    shares = np.stack([np.bincount(labels[regimes == one], minlength=4) for one in range(4)]) / (labels.size / 4)
    assert np.abs(shares - 0.25).max() < 0.03


def test_instances_differ_and_the_seed_of_the_environment_changes_weights_only():
    one, other = SwitchingVectorEnv(2), SwitchingVectorEnv(2, instance=1)
    one.reset(seed=5)
    first = one.network.sharing.linear.weight.clone()
    one.reset(seed=6)
    assert not torch.isclose(first, one.network.sharing.linear.weight).any()
    assert one.data is switching(4, 4, 12, 3, 0.5, 0).data
    assert not np.isclose(one.data.split("test").x[:100], other.data.split("test").x[:100]).any()


def test_no_generator_with_a_small_seed_draws_the_truth():
    truth = problem().truth
    for seed in range(100):
        drawn = Truth.draw(4, 4, np.random.default_rng(seed))
        assert not np.isclose(drawn.rules, truth.rules).all()


def test_routers_see_the_cue_and_modules_do_not():
    env = SwitchingVectorEnv(8, noise=0.0, train=False)
    obs, _ = env.reset(seed=0)
    x, cue = np.split(obs["units"], 2, axis=1)
    asked = problem().truth.asked[obs["task"], cue.argmax(1)]
    assert (env.best_actions() == np.eye(4)[asked]).all()
    linear = env.network.sharing.linear
    expected = (x @ linear.weight.mean(0).detach().numpy() + linear.bias.mean(0).detach().numpy()).argmax(1)
    _, reward, *_ = env.step(np.ones((8, 4), np.int8))
    label = env.data.split("train").y[env._sample, 0].numpy()
    assert reward.tolist() == np.where(expected == label, 1.0, -1.0).tolist()


def test_modules_start_with_their_rule_and_a_fraction_answers_less():
    figures = []
    for head_start in (0.0, 1.0, 3.0, 100.0):
        env = make_vec_env(ID, 64, 0, head_start=head_start, train=False)
        env.reset()
        figures.append(mtl_gym.evaluate(find_agent("oracle")(env, seed=0), env).figure)
    assert 10 < figures[0] < 45 and (np.diff(figures) > 3).all() and figures[-1] > 97


def test_the_best_actions_follow_the_rows_to_their_end():
    env = SwitchingVectorEnv(16, noise=0.0)
    obs, _ = env.reset(seed=0)
    for _ in range(30):
        asked = problem().truth.asked[obs["task"], obs["units"][:, 4:].argmax(1)]
        assert (env.best_actions().argmax(1) == asked).all()
        obs, *_ = env.step(env.best_actions())


def test_the_oracle_is_far_above_every_control_which_answer_at_chance():
    figures = {name: trained(name) for name in card(ID).controls}
    assert all(20 < figure < 30 for figure in figures.values()), figures
    assert trained("oracle") > 85


def test_neither_the_cue_nor_the_task_alone_is_better_than_chance():
    assert 20 < figure_of(lambda obs: obs["units"][:, 4:].argmax(1)) < 30
    assert 20 < figure_of(lambda obs: obs["task"]) < 30
    assert 20 < figure_of(lambda obs: obs["step"] // 3) < 30


REFUSED = {
    "data": "brain-series",
    "network": lambda context: None,
    "tasks": [0, 1],
    "base": "fs-mtl",
    "sharing": "rrn",
    "layers": (2, 2),
    "hidden": 8,
    "readout": "last",
    "unseen_task": 0,
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_without_effect_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=.*network and data are generated"):
        SwitchingVectorEnv(2, **{name: REFUSED[name]})


@pytest.mark.parametrize("options", [{"head_start": 10**30}, {"noise": 1e38}, {"head_start": -1}])
def test_numbers_beyond_what_weights_and_cues_hold_are_refused(options):
    with pytest.raises(ValueError, match=r"is not possible; it takes a number from 0 to 100"):
        SwitchingVectorEnv(2, **options)


def test_sizes_are_dials():
    env = SwitchingVectorEnv(2, regimes=3, num_tasks=5, steps=7, regime_steps=2)
    obs, _ = env.reset(seed=0)
    assert obs["units"].shape == (2, 6) and env.single_action_space.n == 3
    assert env.single_observation_space["task"].n == 5 and env.single_observation_space["step"].n == 7
    assert {split: len(env.data.split(split)) for split in SEQUENCES} == {s: 5 * n for s, n in SEQUENCES.items()}


def test_it_keeps_the_contract():
    check_family(ID)
