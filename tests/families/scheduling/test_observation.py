"""The observation of a run's progress."""

import numpy as np
import pytest

from mtl_gym.families.scheduling.observation import LARGEST


def test_the_progress_is_what_rules_see_relative_to_chance(make):
    env = make(num_envs=2, observation="progress", updates=40, updates_per_step=10)
    env.step(np.array([1, 0]))
    obs, *_ = env.step(np.array([2, 0]))
    progress, tasks = env.progress, 3
    assert env.single_observation_space.contains(obs[0]) and obs.shape == (2, 3 * tasks + 1)
    losses, accuracies, shares, left = np.split(obs, [tasks, 2 * tasks, 3 * tasks], axis=1)
    assert losses == pytest.approx(progress.validation_loss / np.log([2, 3, 4]), abs=1e-6)
    assert (accuracies == progress.validation_accuracy).all()
    assert shares.tolist() == [[0, 0.25, 0.25], [0.5, 0, 0]] and left.tolist() == [[0.5], [0.5]]


def test_a_run_begins_with_the_losses_of_its_fresh_weights(make):
    env = make(num_envs=2, observation="progress")
    obs, _ = env.reset()
    assert obs[:, :3] == pytest.approx(env.progress.validation_loss / np.log([2, 3, 4]), abs=1e-6)
    assert (obs[:, 6:9] == 0).all() and (obs[:, 9] == 1).all()


def test_losses_above_the_bound_are_clipped(make):
    env = make(num_envs=2, observation="progress", learning_rate=100.0)
    obs, *_ = env.step(np.array([0, 0]))
    assert env.progress.validation_loss.max() > LARGEST * np.log(4) and obs.max() == LARGEST


def test_the_observation_does_not_change_the_training(make):
    actions = np.array([2, 0])
    plain, other = (make(observation=observation).step(actions) for observation in ("histogram", "progress"))
    assert (plain[1] == other[1]).all() and (plain[4]["train_loss"] == other[4]["train_loss"]).all()


def test_pictures_without_histograms_show_the_timeline_alone(make):
    env = make(observation="progress", render_mode="rgb_array", updates=2)
    env.step(np.array([0, 1]))
    assert env.render().ndim == 3
    env.step(np.array([0, 1]))
    assert list(env.pictures(env.evaluation_figures(), "title")) == ["timeline.png"]


def test_no_warning_about_hard_samples_without_histograms(make, caplog):
    make(observation="progress", hard_samples=64)
    assert not caplog.records
