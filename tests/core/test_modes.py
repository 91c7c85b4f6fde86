"""Environments of every family train the same weights, whatever mode of torch their caller is in."""

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from threading import Event, Thread

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import LRN, QLS, FastPPO, Reinforce, StraightThroughRouter

import mtl_gym
from mtl_gym.core.modes import in_own_mode
from mtl_gym.core.rows import State
from mtl_gym.lab.environments import class_of
from mtl_gym.testing import valid_actions
from tests.test_registry import short

IDS = (
    "MTLRouting-Digits-v0",
    "MTLRouting-Context-v0",
    "MTLLimitless-Digits-v0",
    "MTLRecurrent-BrainSeries-v0",
    "MTLRecurrent-Switching-v0",
    "MTLScheduling-Digits-v0",
    "MTLScheduling-TextMixture-v0",
    "MTLAlignment-Linear-v0",
    "MTLAlignment-LinearDiscrete-v1",
)


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


MODES = {
    "float64": float64,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}
STEPS = 200


def trained(env_id, mode):
    """Return what is left of an environment that is made, trained and saved within a mode."""
    with mode():
        known = {field.name for field in fields(class_of(env_id).Options)}
        often = {"train_batch": 4} if "train_batch" in known else {}
        env = gym.make_vec(env_id, num_envs=4, **short(env_id), **often).unwrapped
        env.reset(seed=0)
        draw = np.random.default_rng(0)
        for _ in range(STEPS):
            env.step(valid_actions(env, draw))
        return env, env.state_dict()


def tensors(value):
    """Yield the tensors in nested plain values."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


@pytest.fixture(scope="module", params=IDS)
def usual(request) -> tuple[str, int, State]:
    """Train an environment in the usual mode."""
    env, state = trained(request.param, nullcontext)
    return request.param, env.updates, state


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_equal_to_the_bit_in_every_mode(usual, mode):
    env_id, updates, expected = usual
    env, state = trained(env_id, MODES[mode])
    assert env.updates == updates > 0
    ours, theirs = list(tensors(state)), list(tensors(expected))
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert not any(tensor.is_inference() for tensor in (*ours, *env.network.parameters()))


AGENTS = [
    (FastPPO, "MTLRouting-Context-v0", {"n_steps": 8}),
    (Reinforce, "MTLRouting-Digits-v0", {}),
    (LRN, "MTLLimitless-Digits-v0", {"d_model": 8, "feed_forward": 16, "n_steps": 8}),
    (StraightThroughRouter, "MTLRecurrent-Switching-v0", {}),
    (QLS, "MTLScheduling-Prerequisites-v0", {}),
]


@pytest.mark.parametrize(("kind", "name", "arguments"), AGENTS)
def test_agents_learn_in_float32_whatever_the_default(kind, name, arguments):
    states = []
    for mode in (nullcontext, float64):
        with mode():
            states.append(kind(mtl_gym.make_vec_env(name, num_envs=4), seed=0, **arguments).learn(64).state_dict())
    ours, theirs = map(list, map(tensors, states))
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
def test_an_environment_that_is_loaded_within_a_mode_goes_on_outside_it(mode):
    env = gym.make_vec("MTLRouting-Digits-v0", num_envs=4).unwrapped
    env.reset(seed=0)
    with MODES[mode]():
        env.load_state_dict(env.state_dict())
        twin = env.fork()
    for one in (env, twin):
        draw = np.random.default_rng(0)
        for _ in range(12):
            one.step(valid_actions(one, draw))
    assert env.updates == twin.updates > 0


def test_a_thread_that_leaves_its_mode_leaves_another_within_it():
    began, left, found = Event(), Event(), []

    @in_own_mode
    def last():
        began.set()
        assert left.wait(60)
        found.append(torch.ones(1).dtype)

    @in_own_mode
    def first():
        thread.start()
        assert began.wait(60)

    with float64():
        thread = Thread(target=last)
        first()
        left.set()
        thread.join()
    assert found == [torch.float32]


def test_single_environments_do_not_look_batched():
    env = gym.make("MTLRouting-Digits-v0").unwrapped
    for name in ("num_envs", "single_action_space", "single_observation_space"):
        assert not hasattr(env, name)
    assert env.updates == 0 and env.batched.num_envs == 1


FORKED = """
import torch
import mtl_gym.core.modes

torch.set_num_threads(2)

def work():
    return float((torch.ones(800, 800) @ torch.ones(800, 800)).exp().sum())

if __name__ == "__main__":
    import multiprocessing
    work()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply_async(work).get(timeout=20)
    print("computed")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are of Unix")
def test_a_process_that_is_forked_after_a_parallel_computation_computes():
    """Expect no wait for the parent's threads, which a fork does not have."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "computed\n", done.stderr
