"""Errors of an environment before its first reset."""

from __future__ import annotations

import gymnasium as gym
import pytest

import mtl_gym  # noqa: F401 (registers the ids)
from mtl_gym.integrations.sb3 import make_vec_env

FAMILIES = [
    "MTLRouting-Digits-v0",
    "MTLLimitless-Digits-v0",
    "MTLRecurrent-BrainSeries-v0",
    "MTLScheduling-Digits-v0",
    "MTLAlignment-Linear-v0",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_and_pictures_before_the_first_reset_are_refused(family):
    single = gym.make(family, render_mode="ansi")
    batched = gym.make_vec(family, num_envs=2, render_mode="ansi").unwrapped
    adapted = make_vec_env(family, 2, render_mode="ansi")
    for env in (single.unwrapped, single.unwrapped.batched, batched, adapted):
        with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\) before action_masks\(\)"):
            env.action_masks()
        with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\) before render\(\)"):
            env.get_images() if env is adapted else env.render()
        with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\) before step\(\)"):
            env.step(env.action_space.sample())


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_a_view_before_its_first_reset_refuses_them_too(family):
    env = gym.make_vec(family, num_envs=2).unwrapped
    env.reset(seed=0)
    view = env.evaluation_view()
    for ask in (view.action_masks, view.render):
        with pytest.raises(gym.error.ResetNeeded):
            ask()
    view.reset()
    assert view.action_masks().any()


@pytest.mark.parametrize("family", FAMILIES)
def test_options_of_reset_are_refused_and_empty_ones_are_not(family):
    adapted = make_vec_env(family, 2)
    for env in (gym.make(family), adapted.batched):
        env.reset(seed=0, options={})
        for options in ({"tsak": 1}, [1]):
            with pytest.raises(ValueError, match=r"reset\(options=.*\) is not possible; .* give options to gym.make"):
                env.reset(options=options)
    adapted.set_options({"tsak": 1})
    with pytest.raises(ValueError, match=r"reset\(options=\{'tsak': 1\}\)"):
        adapted.reset()
