"""What must hold for every registered environment."""

import functools
import json
import operator
import pickle
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import MultiBinary
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import mtl_gym
from mtl_gym import registration
from mtl_gym.registration import registered_ids

# Training runs are long episodes: short ones will do here.
SHORT = {
    "MTLScheduling": {"updates": 4, "updates_per_step": 1, "minibatch": 2, "validation_samples": 2, "reference": 0.5},
    "MTLAlignment": {"generations": 4, "iterations": 2, "final_generations": 1, "samples": 4, "minibatch": 2},
    # Without the language model, whose vocabulary costs most of the time; tests/alignment has it.
    "MTLAlignment-CrossModal": {"tasks": ["vision", "dna"]},
}


def short(env_id):
    found = (kwargs for family, kwargs in SHORT.items() if env_id.startswith(family))
    return functools.reduce(operator.or_, found, {})


def make(env_id, **kwargs):
    return gym.make(env_id, **short(env_id), **kwargs)


def make_vec(env_id, num_envs):
    return gym.make_vec(env_id, num_envs=num_envs, **short(env_id))


def valid_actions(env, rng):
    masks = env.unwrapped.action_masks()
    drawn = np.where(masks, rng.random(masks.shape), -1)
    space = getattr(env.unwrapped, "single_action_space", env.action_space)
    if isinstance(space, MultiBinary):
        return drawn.reshape(*masks.shape[:-1], -1, 2).argmax(-1)
    if not isinstance(space, gym.spaces.MultiDiscrete):
        return drawn.argmax(-1)
    parts = np.split(drawn, np.cumsum(space.nvec)[:-1], -1)
    return np.stack([part.argmax(-1) for part in parts], -1)


def longest(env):
    """The most decisions of an episode; of training runs, those that the tests make of it."""
    parts = getattr(getattr(env, "single_observation_space", env.observation_space), "spaces", {})
    return next((int(parts[name].n) for name in ("depth", "step") if name in parts), 4)


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return np.array_equal(left, right)


def test_gymnasiums_checker_is_content(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*A Box observation space m.* value is -?infinity")
        check_env(make(env_id).unwrapped)


def test_stable_baselines3s_checker_is_content(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It wants bytes for its CnnPolicy; pictures of floats in [0, 1] are flattened, which small ones need.
        warnings.filterwarnings("ignore", message="It seems that your observation.* image")
        warnings.filterwarnings("ignore", message="The minimal resolution for an image")
        sb3_check_env(make(env_id).unwrapped)


def test_the_batched_environment_keeps_gymnasiums_vector_contract(env_id):
    env = make_vec(env_id, 3)
    assert isinstance(env, VectorEnv) and env.num_envs == 3
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.action_space.shape[0] == 3
    obs, info = env.reset(seed=0)
    assert obs in env.observation_space
    assert info["seed"].tolist() == [0, 0, 0]
    env.action_space.seed(0)
    ended = 0
    for _ in range(4 * longest(env)):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        done = terminated | truncated
        assert obs in env.observation_space
        assert reward.shape == (3,) and np.isfinite(reward).all()
        assert terminated.dtype == truncated.dtype == bool
        assert info["action_mask"].any(1).all()
        if done.any():
            assert (info["_final_obs"] == done).all() and (info["_final_info"] == done).all()
            assert all(info["final_obs"][row] in env.single_observation_space for row in np.flatnonzero(done))
            assert set(info["final_info"]) >= {"is_success", "_is_success"}
        ended += done.sum()
    assert ended >= 12
    env.close()


def test_one_seed_is_one_trajectory_for_both_classes(env_id):
    single, again, wide = make(env_id), make(env_id), make_vec(env_id, 1)
    obs, _ = single.reset(seed=4)
    assert same(obs, again.reset(seed=4)[0])
    wide.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(2 * longest(single) + 27):
        action = valid_actions(single, rng)
        obs, reward, terminated, truncated, _ = single.step(action)
        other, other_reward, *_ = again.step(action)
        _, wide_reward, *_, wide_info = wide.step(np.array([action]))
        assert same(obs, other) and reward == other_reward == wide_reward[0]
        if terminated or truncated:
            assert same(obs, wide_info["final_obs"][0])
            single.reset(), again.reset()


def test_a_masked_walk_is_never_invalid(env_id):
    env = make_vec(env_id, 4)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(15):
        *_, info = env.step(valid_actions(env, rng))
        assert not info.get("final_info", {}).get("invalid_action", np.zeros(1)).any()


def test_a_restored_environment_goes_on_as_the_original(env_id):
    env = make_vec(env_id, 2).unwrapped
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(longest(env) + 4):
        env.step(valid_actions(env, rng))
    twin = env.fork()
    for _ in range(longest(env) + 17):
        actions = valid_actions(env, rng)
        for mine, theirs in zip(env.step(actions)[:3], twin.step(actions)[:3], strict=True):
            assert same(mine, theirs)


def test_evaluation_sees_every_task(env_id):
    env = make(env_id)

    def first_choice(obs):
        rows = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        return np.zeros((rows, *env.action_space.shape), int)

    result = mtl_gym.evaluate(first_choice, env, split="validation")
    assert (result.episodes > 0).all()
    assert ((result.accuracy >= 0) & (result.accuracy <= 1)).all()


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_the_environment_can_be_looked_at(env_id, mode):
    env = make(env_id, render_mode=mode)
    env.reset(seed=0)
    picture = env.render()
    if mode == "ansi":
        assert all(name in picture for name in env.unwrapped.batched.task_names)
    else:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3


def test_a_specification_is_json(env_id):
    spec = gym.spec(env_id)
    assert json.loads(spec.to_json())["id"] == env_id
    assert gym.envs.registration.EnvSpec.from_json(spec.to_json()).kwargs == spec.kwargs


def test_environments_travel_between_processes(env_id):
    env = pickle.loads(cloudpickle.dumps(lambda: make(env_id)))()
    env.reset(seed=0)


def test_importing_the_package_registers_every_id_without_torch():
    program = (
        "import sys, gymnasium, mtl_gym\n"
        f"assert all(i in gymnasium.registry for i in {registered_ids()!r})\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_the_public_names_are_there():
    assert all(getattr(mtl_gym, name) is not None for name in mtl_gym.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mtl_gym.nothing  # noqa: B018


def test_a_gpu_is_used_if_there_is_one():
    env = gym.make("MTLRouting-Digits-v0").unwrapped.batched
    assert env.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_family_is_registered_once_and_takes_no_others_names():
    card = mtl_gym.Card("what", "why", ("random",))
    kinds = {"env": "nowhere.env:Env", "vector_env": "nowhere.env:VectorEnv"}
    try:
        for _ in range(2):
            mtl_gym.register_family(**kinds, presets={"Nowhere-v0": {"data": "digits"}}, card=card)
        assert mtl_gym.card("Nowhere-v0") is mtl_gym.card("nowhere:Nowhere-v0") is card
        with pytest.raises(ValueError, match=r"'Nowhere-v0' is taken by nowhere\.env:Env"):
            mtl_gym.register_family(**{**kinds, "env": "else:Env"}, presets={"Nowhere-v0": {}}, card=card)
        with pytest.raises(ValueError, match=r"'Env' is no location; write it as 'module:attribute'"):
            mtl_gym.register_family(**{**kinds, "env": "Env"}, presets={"Other-v0": {}}, card=card)
        assert "Other-v0" not in gym.registry
    finally:
        del gym.registry["Nowhere-v0"], registration._cards["Nowhere-v0"]
    with pytest.raises(ValueError, match="no card of 'Nowhere-v0'"):
        mtl_gym.card("Nowhere-v0")


def test_a_package_that_cannot_register_its_environments_is_named_in_a_warning(monkeypatch):
    points = [EntryPoint("broken", "nowhere.to.be.found:register", registration.GROUP)]
    monkeypatch.setattr(registration, "entry_points", lambda group: points)
    with pytest.warns(RuntimeWarning, match=r"nowhere\.to\.be\.found:register.* not registered: ModuleNotFoundError"):
        registration.load_packages()
