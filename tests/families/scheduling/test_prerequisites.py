"""Scheduling of a task and its prerequisite."""

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import Greedy, Random, Uniform
from mtl_agents.oracle import Oracle

import mtl_gym
from mtl_gym.families.scheduling.prerequisites_data import prerequisites

ID = "MTLScheduling-Prerequisites-v0"


def made(num_envs=32, **options):
    env = gym.make_vec(ID, num_envs=num_envs, **options).unwrapped
    env.reset(seed=0)
    return env


def played(env, tasks):
    view = env.evaluation_view("test")
    view.reset()
    for task in tasks:
        _, transition, _ = view.advance(np.full(view.num_envs, task))
    return transition.result.accuracy.mean(0)


@pytest.mark.parametrize("options", [{}, {"updates": 16}, {"updates": 64}], ids=["as it is", "half", "twice"])
def test_the_known_schedule_beats_every_control_by_ten_points(options):
    env = made(**options)
    best = mtl_gym.evaluate(Oracle(env), env).figure
    assert best > 80
    assert all(mtl_gym.evaluate(rule(env, seed=0), env).figure < best - 10 for rule in (Uniform, Greedy, Random))


def test_parity_needs_its_prerequisite_first():
    env = made()
    pattern, parity = env.targets
    alone, before, after = (
        played(env, [parity] * 8),
        played(env, [parity] * 4 + [pattern] * 4),
        played(env, env.schedule),
    )
    assert after[parity] > before[parity] + 0.1 and after[parity] > alone[parity] + 0.2


def test_rewards_sum_to_the_gain_of_the_figure_on_validation_data():
    env = made(4)
    start, total = env.progress.validation_accuracy[:, env.targets].mean(1), 0
    for _ in range(env.run_length - 1):
        _, reward, *_ = env.step(env.best_actions())
        total = total + reward
    assert total == pytest.approx(env.progress.validation_accuracy[:, env.targets].mean(1) - start, abs=1e-5)


def test_a_run_terminates_so_that_nothing_is_bootstrapped_beyond_its_budget():
    env = made(2)
    for _ in range(env.run_length):
        _, _, terminated, truncated, _ = env.step(env.best_actions())
    assert terminated.all() and not truncated.any()


def test_few_samples_favour_no_label():
    data = prerequisites(parity_samples=16, noise_tasks=1, instance=5)
    part = data.splits["train"]
    own = part.y[part.task == data.task_names.index("parity")]
    assert own.bincount().tolist() == [8, 8]


def test_the_figure_counts_pattern_and_parity_alone():
    env = made(1)
    accuracy = np.zeros(env.data.num_tasks)
    accuracy[env.targets] = 0.9, 0.6
    assert env.figure(accuracy, accuracy) == pytest.approx(75)
    assert [env.task_names[task] for task in env.targets] == ["pattern", "parity"]


def test_the_order_of_tasks_and_the_data_are_those_of_the_instance():
    first, again, other = (prerequisites(16, 2, instance) for instance in (0, 0, 1))
    assert first.task_names == again.task_names and (first.splits["train"].x == again.splits["train"].x).all()
    assert not (first.splits["train"].x[:64] == other.splits["train"].x[:64]).all()
    assert len({prerequisites(16, 2, instance).task_names for instance in range(8)}) > 4


def test_labels_follow_from_two_bits_and_noise_from_nothing():
    data = prerequisites(parity_samples=16, noise_tasks=2, instance=3)
    part, seen = data.splits["test"], {}
    for number, name in enumerate(data.task_names):
        own = part.task == number
        x, target = part.x[own].numpy(), (part.y[own].numpy() % 2) * 2 - 1
        fitted = x @ np.linalg.lstsq(x, target, rcond=None)[0]
        seen[name] = ((fitted > 0) == (target > 0)).mean()
    # A linear fit finds the bits of pattern, but not whether they differ, and fits noise with 40 numbers a little.
    assert seen["pattern"] > 0.99 and seen["easy"] > 0.99
    assert all(seen[name] < 0.75 for name in ("parity", "noise 1", "noise 2"))


def test_best_actions_weight_the_losses_where_weights_are_chosen():
    env = made(3, control="weights")
    assert (env.best_actions() == np.eye(5, dtype=np.float32)[np.full(3, env.targets[0])]).all()


@pytest.mark.parametrize("options", [{"data": "digits"}, {"parity_samples": 2}, {"noise_tasks": -1}])
def test_values_that_cannot_work_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        gym.make_vec(ID, num_envs=1, **options)
