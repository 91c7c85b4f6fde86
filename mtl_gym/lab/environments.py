"""Lookup of specification, class and card by environment id."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from mtl_gym import registration
from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.measure import Measure
from mtl_gym.core.options import EnvOptions, make_options
from mtl_gym.core.rows import Arguments
from mtl_gym.core.validation import did_you_mean

if TYPE_CHECKING:
    from mtl_gym.data.registry import DataSource


def spec_of(env_id: str) -> EnvSpec:
    """Return the specification of an id.

    It imports the module of `module:id`, so never pass an id from a file.

    Raises:
        gymnasium.error.Error: If the environment is unknown.
        ImportError: If the module cannot be imported.
    """
    module, colon, bare = env_id.rpartition(":")
    if colon:
        _import(module, env_id)
    try:
        return gym.spec(bare)
    except gym.error.NameNotFound as error:  # Gymnasium suggests names without their version
        sentence = str(error).partition(" Did you mean")[0]
        raise gym.error.NameNotFound(sentence + did_you_mean(bare, registration.registered_ids())) from error


def _import(module: str, env_id: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{env_id!r} needs the module {module!r}, but there is no module {error.name!r}; correct the id, install "
            "the package, or set PYTHONPATH."
        ) from error


def class_of(env_id: str) -> type[MultiTaskVectorEnv]:
    """Return the batched class of an id.

    Raises:
        gymnasium.error.Error: If the environment is unknown.
        ImportError: If its module or class does not exist.
        ValueError: If the class does not inherit from `MultiTaskVectorEnv`.
    """
    entry = spec_of(env_id).vector_entry_point
    kind = registration.load_location(entry, f"The batched class of {env_id!r}") if isinstance(entry, str) else entry
    if not (isinstance(kind, type) and issubclass(kind, MultiTaskVectorEnv)):
        raise ValueError(
            f"{env_id!r} is not an environment of mtl_gym: its batched class does not inherit from MultiTaskVectorEnv; "
            "`mtl-gym list` shows the available ones."
        )
    missing = sorted(kind.__abstractmethods__)
    if missing:
        raise ValueError(
            f"{kind.__name__}, the batched class of {env_id!r}, lacks the hooks {', '.join(missing)}; write them as "
            f"the docstrings of the modules of its bases say."
        )
    return kind


def options_of(env_id: str, given: Arguments | None = None) -> EnvOptions:
    """Return the options of an id, without making its environment or loading its data.

    Args:
        env_id: The id.
        given: Keyword arguments that replace those of the id.

    Raises:
        gymnasium.error.Error: If the environment is unknown.
        ValueError: If an argument is invalid.
    """
    kind = class_of(env_id)
    return make_options(kind.Options, kind.__name__, {**spec_of(env_id).kwargs, **(given or {})})


def measure_of(env_id: str) -> Measure:
    """Return the measure of an id, without making its environment or loading its data.

    Example:
        >>> print(measure_of("MTLRouting-Digits-v1"))
        balanced accuracy (%)
    """
    return class_of(env_id).measure_of(options_of(env_id))


def class_if_known(env_id: str) -> type[MultiTaskVectorEnv] | None:
    """Return the batched class of an id from a file, without importing its module; None if it is not registered."""
    bare = env_id.rpartition(":")[2]
    return class_of(bare) if bare in gym.registry else None


def card_of(env_id: str) -> registration.Card | None:
    """Return the card of an id; None if no family registered the id."""
    known = env_id.rpartition(":")[2] in registration.registered_ids()
    return registration.card(env_id) if known else None


def is_benchmark(env_id: str) -> bool:
    """Return whether the best decision of an id is known."""
    card = card_of(env_id)
    return card is not None and card.benchmark


def size_of_run(env_id: str, steps: int | None = None, num_envs: int | None = None) -> tuple[int, int]:
    """Return decisions and parallel environments of a run: given ones, those of a benchmark's card, or 100,000 and 64.

    Example:
        >>> size_of_run("MTLRouting-Paths-v0", num_envs=8), size_of_run("MTLRouting-Digits-v0")
        ((30000, 8), (100000, 64))
    """
    card = card_of(env_id)
    usual = (card.steps, card.num_envs) if card is not None and card.benchmark else (100_000, 64)
    return steps or usual[0], num_envs or usual[1]


def source_of(env_id: str) -> DataSource | None:
    """Return the data source of an id, or None if the id generates its data."""
    from mtl_gym.data.registry import catalogue

    sources = {source.name: source for source in catalogue()}
    return sources.get(gym.spec(env_id).kwargs.get("data", ""))
