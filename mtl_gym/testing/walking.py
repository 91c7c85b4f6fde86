"""Environments by id, and random valid actions in them."""

from __future__ import annotations

from typing import TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.rows import Arguments, Array
from mtl_gym.core.single import BatchOfOne

Options: TypeAlias = Arguments


def require(holds: bool, sentence: str) -> None:
    """Raise AssertionError with a sentence if a condition does not hold."""
    if not holds:
        raise AssertionError(f"{sentence[0].upper()}{sentence[1:]}.")


def single(env_id: str, options: Options) -> BatchOfOne:
    """Make a batch of one with `gym.make`; return it without wrappers."""
    env = gym.make(env_id, **options).unwrapped
    if not isinstance(env, BatchOfOne):
        raise AssertionError(f"gym.make({env_id!r}) must return a BatchOfOne, not {type(env).__name__}.")
    return env


def batch(env_id: str, num_envs: int, options: Options) -> MultiTaskVectorEnv:
    """Make a batched environment with `gym.make_vec`; return it without wrappers."""
    env = gym.make_vec(env_id, num_envs=num_envs, **options).unwrapped
    if not isinstance(env, MultiTaskVectorEnv):
        raise AssertionError(f"gym.make_vec({env_id!r}) must return a MultiTaskVectorEnv, not {type(env).__name__}.")
    return env


def walk(env: MultiTaskVectorEnv, steps: int, rng: np.random.Generator) -> None:
    """Take `steps` random valid actions in every row."""
    for _ in range(steps):
        env.step(valid_actions(env, rng))


def valid_actions(env: MultiTaskVectorEnv, rng: np.random.Generator) -> Array:
    """Return a random valid action for every row, an element of `action_space`."""
    space = env.single_action_space
    if isinstance(space, spaces.Box):
        low, high = np.clip(space.low, -1, 1), np.clip(space.high, -1, 1)
        return rng.uniform(low, high, (env.num_envs, *space.shape)).astype(space.dtype)
    masks = env.action_masks()
    drawn = np.where(masks, rng.random(masks.shape), -1)
    if isinstance(space, spaces.MultiBinary):
        return drawn.reshape(len(masks), -1, 2).argmax(-1)
    if isinstance(space, spaces.MultiDiscrete):
        parts = np.split(drawn, np.cumsum(space.nvec)[:-1], -1)
        return np.stack([part.argmax(-1) for part in parts], -1)
    return drawn.argmax(-1)
