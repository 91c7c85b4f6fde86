"""Environments by id: their specification, their class and their card."""

from __future__ import annotations

from importlib import import_module

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from mtl_gym import registration
from mtl_gym.core.env import MultiTaskVectorEnv


def spec_of(env_id: str) -> EnvSpec:
    """Return the specification of an id; the module of `module:id` is imported, so the id must never be from a file.

    Raises:
        gymnasium.error.Error: If there is no such environment.
        ImportError: If there is no such module.
    """
    module, colon, bare = env_id.rpartition(":")
    if colon:
        import_module(module)
    return gym.spec(bare)


def class_of(env_id: str) -> type[MultiTaskVectorEnv]:
    """Return the batched class of an id.

    Raises:
        gymnasium.error.Error: If there is no such environment.
        ValueError: If it does not build on `MultiTaskVectorEnv`.
    """
    entry = spec_of(env_id).vector_entry_point
    kind = load_env_creator(entry) if isinstance(entry, str) else entry
    if not (isinstance(kind, type) and issubclass(kind, MultiTaskVectorEnv)):
        raise ValueError(
            f"{env_id!r} is no environment of mtl_gym: its batched class does not build on MultiTaskVectorEnv; "
            "`mtl-gym list` shows those there are."
        )
    return kind


def class_if_known(env_id: str) -> type[MultiTaskVectorEnv] | None:
    """Return the batched class of an id that a file names; None if it is not registered, and nothing is imported."""
    bare = env_id.rpartition(":")[2]
    return class_of(bare) if bare in gym.registry else None


def card_of(env_id: str) -> registration.Card | None:
    """Return the card of an id; None where no family registered it."""
    known = env_id.rpartition(":")[2] in registration.registered_ids()
    return registration.card(env_id) if known else None
