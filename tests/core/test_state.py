"""States, copies and pickles of environments under way, and seeds set by libraries, in every family."""

import copy
import pickle
import random
from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import (
    LRN,
    QLS,
    WPL,
    Random,
    RandomAlignment,
    RandomConnections,
    RandomSchedule,
    Reinforce,
)
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.integrations.sb3 import as_vec_env, make_vec_env
from mtl_gym.lab.environments import class_of

SMALL = {
    "MTLRouting-Digits-v0": {},
    "MTLLimitless-Digits-v0": {"duplicates": 1, "max_depth": 3},
    "MTLRecurrent-BrainSeries-v0": {},
    "MTLScheduling-Digits-v0": {"updates": 4, "updates_per_step": 1, "reference": None},
    "MTLAlignment-Linear-v0": {"iterations": 1, "generations": 2, "final_generations": 0},
}
RANDOM = {
    "MTLRouting": Random,
    "MTLLimitless": Random,
    "MTLRecurrent": RandomConnections,
    "MTLScheduling": RandomSchedule,
    "MTLAlignment": RandomAlignment,
}
SHARED = list(SMALL)[:3]
FAMILIES = pytest.mark.parametrize("family", SMALL)


def small(env_id):
    """Return options that keep episodes of an environment short, those of them that the id has."""
    known = {field.name for field in fields(class_of(env_id).Options)}
    found = next(options for family, options in SMALL.items() if family.split("-")[0] == env_id.split("-")[0])
    return {name: value for name, value in found.items() if name in known}


def make(family, **options):
    env = gym.make(family, **small(family) | options)
    env.reset(seed=0)
    return env


def make_batch(family, width=3, **options):
    batch = gym.make_vec(family, width, vectorization_mode="vector_entry_point", **small(family) | options)
    batch.reset(seed=0)
    return batch


def choose(env, draw):
    masks, space = env.unwrapped.action_masks(), env.action_space
    if isinstance(space, gym.spaces.Discrete):
        return int(draw.choice(np.flatnonzero(masks)))
    if isinstance(space, gym.spaces.MultiDiscrete) and masks.ndim == 2 and masks.shape[1] != space.nvec.sum():
        return np.array([draw.choice(np.flatnonzero(row)) for row in masks])
    return np.ones(space.shape, space.dtype)


def play(env, episodes, seed=1):
    """Play episodes; return their observations and rewards."""
    draw, seen = np.random.default_rng(seed), []
    for _ in range(episodes):
        obs, _ = env.reset()
        done = False
        while not done:
            seen += [gym.spaces.flatten(env.observation_space, obs)]
            obs, reward, terminated, truncated, _ = env.step(choose(env, draw))
            seen.append(np.array([reward]))
            done = terminated or truncated
    return np.concatenate(seen)


def step_on(batch, steps, seed=1):
    """Step a batched environment; return its rewards."""
    draw = np.random.default_rng(seed)
    return np.array([batch.step(choose(batch, draw))[1] for _ in range(steps)])


@FAMILIES
def test_a_state_between_two_episodes_continues_exactly(family):
    env = make(family)
    play(env, 3)
    again, twin = make(family), env.unwrapped.fork()
    again.unwrapped.load_state_dict(env.unwrapped.state_dict())
    expected = play(env, 3)
    np.testing.assert_array_equal(play(again, 3), expected)
    np.testing.assert_array_equal(play(twin, 3), expected)


@FAMILIES
def test_reset_after_loading_returns_the_loaded_episode(family):
    env = make(family)
    state = env.unwrapped.state_dict()
    play(env, 2)
    env.unwrapped.load_state_dict(state)
    obs, _ = env.reset()
    now = env.unwrapped.batched.current()[0]
    for mine, theirs in zip(*(part.values() if isinstance(part, dict) else [part] for part in (obs, now)), strict=True):
        np.testing.assert_array_equal(mine, theirs[0])


def globals_now():
    return random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()


@FAMILIES
def test_global_generators_are_unchanged(family):
    check_global_generators(family)


@pytest.mark.slow
def test_no_id_changes_global_generators(env_id):
    check_global_generators(env_id)


def check_global_generators(env_id):
    before = globals_now()
    env = make(env_id, render_mode="rgb_array")
    play(env, 1)
    env.render()
    env.unwrapped.fork()
    view = env.unwrapped.evaluation_view("validation", 1)
    view.reset()
    step_on(view, 1)
    batch = make_batch(env_id, 2)
    step_on(batch, 2)
    batch.reset(seed=1)
    assert globals_now() == before


@FAMILIES
def test_an_evaluation_does_not_change_global_generators(family):
    batch = make_batch(family, 2, train=family in SHARED)
    agent = RANDOM[family.split("-")[0]](batch)
    before = globals_now()
    mtl_gym.evaluate(agent, batch, "validation")
    assert globals_now() == before


@FAMILIES
@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_and_pickles_continue_exactly(family, twin_of):
    batch = make_batch(family).unwrapped
    step_on(batch, 2)
    twin = twin_of(batch)
    assert twin.network is not batch.network
    expected = step_on(batch, 4)
    np.testing.assert_array_equal(step_on(twin, 4), expected)


@pytest.mark.parametrize("family", SHARED)
def test_a_frozen_environment_is_copied_in_the_middle_of_its_episodes(family):
    batch = make_batch(family, train=False).unwrapped
    step_on(batch, 1)
    twin = batch.fork()
    for mine, theirs in zip(batch.current()[0].values(), twin.current()[0].values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(step_on(batch, 9), step_on(twin, 9))


@FAMILIES
def test_a_wrapped_environment_is_copied_and_pickled_with_its_state(family):
    env = make(family)
    play(env, 1)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = play(env, 2)
    for twin in twins:
        np.testing.assert_array_equal(play(twin, 2), expected)


@FAMILIES
def test_an_environment_can_be_copied_before_its_first_reset(family):
    env = gym.make(family, **SMALL[family]).unwrapped
    twin = copy.deepcopy(env)
    assert env.seed is None and twin.seed is None


@FAMILIES
def test_copying_a_view_raises_with_a_hint_at_fork(family):
    view = make_batch(family).unwrapped.evaluation_view("validation", 3)
    view.reset()
    for twin_of in (copy.copy, copy.deepcopy, pickle.dumps, lambda env: env.fork()):
        with pytest.raises(TypeError, match="fork"):
            twin_of(view)


def weights(env):
    return [p.detach().clone() for p in env.network.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def agents(env):
    n = {"n_steps": 30, "batch_size": 120}
    yield PPO("MultiInputPolicy", env, seed=0, **n)
    yield MaskablePPO("MultiInputPolicy", env, seed=0, **n)
    yield WPL(env, seed=0)
    yield Reinforce(env, seed=0)


@pytest.mark.parametrize("which", range(4))
def test_the_seed_of_an_agent_does_not_change_a_trained_network(which, tmp_path):
    env = make_vec_env("MTLRouting-Digits-v0", 16, seed=0)
    agent = list(agents(env))[which].learn(1_200)
    before = env.batched.updates
    agent.save(tmp_path / "agent")
    path = next(tmp_path.iterdir())
    again = type(agent).load(path, env=env)
    again.learn(480, reset_num_timesteps=False)
    assert before > 0 and env.batched.updates > before
    middle = env.batched.updates
    list(agents(env))[which].learn(480)
    assert env.batched.updates > middle


def test_the_seed_of_an_agent_does_not_change_a_trained_batch_of_one():
    env = gym.make("MTLRouting-Digits-v0", train_batch=8)
    agent = WPL(env, seed=0).learn(200)
    before = env.unwrapped.updates
    WPL(env, seed=3).learn(100)
    assert env.unwrapped.updates > before > 0
    assert as_vec_env(env).envs[0] is env and agent.n_envs == 1


def test_the_seeds_of_lrn_and_qls_do_not_change_trained_networks():
    env = make_vec_env("MTLLimitless-Digits-v0", 16, seed=0, train_batch=16)
    LRN(env, seed=0, d_model=16, feed_forward=16).learn(320)
    before = env.batched.updates
    LRN(env, seed=1, d_model=16, feed_forward=16).learn(320)
    assert env.batched.updates > before > 0
    runs = make_vec_env("MTLScheduling-Digits-v0", 2, seed=0, updates=8, reference=None)
    QLS(runs, seed=0, learning_starts=4).learn(8)
    before = runs.batched.updates
    QLS(runs, seed=1, learning_starts=4).learn(8)
    assert runs.batched.updates > before > 0


def test_a_seed_restarts_an_untrained_environment_and_an_explicit_reset_any():
    env = make_vec_env("MTLRouting-Digits-v0", 8, seed=3)
    env.reset()
    assert env.batched.seed == 3
    env.seed(4)
    env.reset()
    assert env.batched.seed == 4
    WPL(env).learn(600)
    env.batched.reset(seed=5)
    assert env.batched.updates == 0 and env.batched.seed == 5


@pytest.mark.parametrize("family", SHARED)
def test_a_seed_never_redraws_frozen_weights(family):
    batch = make_batch(family, train=False).unwrapped
    before = weights(batch)
    batch.reset(seed=7)
    assert batch.seed == 7 and same(before, weights(batch))


def test_a_given_network_keeps_its_weights_without_training():
    given = make_batch("MTLRouting-Digits-v0").unwrapped.network
    frozen = make_batch("MTLRouting-Digits-v0", network=given, train=False).unwrapped
    assert same(weights(frozen), [p.detach() for p in given.parameters()])
    pool = make_batch("MTLLimitless-Digits-v0").unwrapped.network
    frozen = make_batch("MTLLimitless-Digits-v0", network=pool, train=False).unwrapped
    assert same(weights(frozen), [p.detach() for p in pool.parameters()])


def trained(family):
    batch = make_batch(family, train_batch=6).unwrapped
    step_on(batch, 60)
    assert batch.updates > 0
    return batch


@pytest.mark.parametrize("family", SHARED)
@pytest.mark.parametrize(("width", "options"), [(3, {"train": False}), (5, {}), (2, {"train": False, "split": "test"})])
def test_a_state_loads_into_another_num_envs_and_into_a_frozen_environment(family, width, options):
    batch = trained(family)
    other = make_batch(family, width, train_batch=6, **options).unwrapped
    other.load_state_dict(batch.state_dict())
    assert same(weights(other), weights(batch)) and other.updates == batch.updates
    step_on(other, 3)


@pytest.mark.parametrize("family", SHARED)
def test_loading_a_state_into_a_view_does_not_change_its_environment(family):
    batch, other = trained(family), make_batch(family, train_batch=6).unwrapped
    before = weights(other)
    view = other.evaluation_view("validation", 4)
    view.reset()
    view.load_state_dict(batch.state_dict())
    view.reset()
    assert same(weights(view), weights(batch)) and same(weights(other), before)


@pytest.mark.parametrize("family", ["MTLScheduling-Digits-v0", "MTLAlignment-Linear-v0"])
def test_runs_under_way_load_into_a_frozen_environment(family):
    batch = make_batch(family).unwrapped
    step_on(batch, 1)
    frozen = make_batch(family, train=False).unwrapped
    frozen.load_state_dict(batch.state_dict())
    assert same(weights(frozen), weights(batch))


def broken(state):
    """Yield copies of a state with a missing key or a wrong value, also in nested dictionaries."""
    for key, value in state.items():
        yield key, {name: part for name, part in state.items() if name != key}
        yield key, state | {key: "x"}
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", state | {key: part}) for inner, part in broken(value))
        if isinstance(value, torch.Tensor) and value.ndim:
            yield key, state | {key: value[:-1]}


def equal(first, second):
    """Return whether two states are equal."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


FREE_TO_MISS = ("begun",)


@FAMILIES
def test_a_damaged_state_does_not_change_the_environment(family):
    env = make_batch(family).unwrapped
    step_on(env, 3)
    good = env.state_dict()
    twin = env.fork()
    accepted = []
    for name, bad in broken({key: value for key, value in good.items() if key not in ("optimizer", "signature")}):
        bad = {"signature": good["signature"], "optimizer": good["optimizer"]} | bad
        try:
            env.load_state_dict(bad)
        except CheckpointError:
            continue
        accepted.append(name)
        env.load_state_dict(good)
    assert not [name for name in accepted if name.count(".") == 0 and name not in FREE_TO_MISS], accepted
    np.testing.assert_array_equal(step_on(env, 4), step_on(twin, 4))


@pytest.mark.parametrize("name", ["wpl", "reinforce", "lrn", "qls"])
def test_a_damaged_state_does_not_change_an_agent(name):
    agent = {
        "wpl": lambda: WPL(make_vec_env("MTLRouting-Digits-v0", 4, seed=0), seed=0).learn(80),
        "reinforce": lambda: Reinforce(make_vec_env("MTLRouting-Digits-v0", 4, seed=0), seed=0).learn(80),
        "lrn": lambda: LRN(make_vec_env("MTLLimitless-Digits-v0", 16), seed=0, d_model=16, feed_forward=16).learn(320),
        "qls": lambda: QLS(
            make_vec_env("MTLScheduling-Digits-v0", 2, updates=8, reference=None), seed=0, learning_starts=4
        ).learn(16),
    }[name]()
    good = copy.deepcopy(agent.state_dict())
    for key in good:
        for bad in ({k: v for k, v in good.items() if k != key}, good | {key: "x"}):
            try:
                agent.load_state_dict(bad)
            except CheckpointError:  # noqa: PERF203
                assert equal(agent.state_dict(), good), key
            else:
                agent.load_state_dict(good)


@pytest.mark.parametrize("kind", [WPL, Reinforce])
def test_an_incomplete_file_raises_checkpoint_error(kind, tmp_path):
    from mtl_gym.core.state import checkpoint

    agent = kind(make_vec_env("MTLRouting-Digits-v0", 4, seed=0), seed=0).learn(80)
    saved = checkpoint.load(agent.save(tmp_path / "agent.pt"))
    for key in set(saved) - {"agent"}:
        checkpoint.save({name: value for name, value in saved.items() if name != key}, tmp_path / "bad.pt")
        with pytest.raises(CheckpointError, match=r"bad\.pt"):
            kind.load(tmp_path / "bad.pt")


def test_the_message_about_another_environment_names_what_differs_and_ends_with_advice():
    state = gym.make_vec("MTLRouting-Digits-v0", 2, hidden=4, depth=2).unwrapped.state_dict()
    with pytest.raises(CheckpointError, match=r"has hidden=4, and here is hidden=5\. .*arguments.*nothing was changed"):
        gym.make_vec("MTLRouting-Digits-v0", 2, hidden=5, depth=2).unwrapped.load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"'RoutingVectorEnv'.*'AlignmentVectorEnv'.*arguments"):
        gym.make_vec("MTLAlignment-Linear-v0", 2).unwrapped.load_state_dict(state)


def test_a_diverged_environment_is_not_copied():
    env = gym.make_vec("MTLScheduling-Digits-v0", 1, updates=4, reference=None, learning_rate=1e30).unwrapped
    env.reset(seed=0)
    with pytest.raises(mtl_gym.TrainingDiverged):
        for _ in range(4):
            env.step(env.action_space.sample())
    with pytest.raises(mtl_gym.TrainingDiverged):
        env.fork()
