"""Registration of families of environments, also from other packages.

A package names a function in the entry-point group `mtl_gym.environments`. Importing `mtl_gym` calls this function,
which calls `register_family`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

import gymnasium as gym

GROUP = "mtl_gym.environments"
_LOCATION = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Card:
    """Description of the environments of a family.

    Attributes:
        decision: Decision that an action makes.
        difficulty: Reason why the controls fall short of the optimum.
        controls: Names of the reference agents; the first is the default control.
        oracle: Name of the agent that knows the best decisions, or None.
        optimum: Best figure that a policy can reach, or its derivation; None if unknown.
        dials: Options that set the difficulty, with their direction.
        floor: Names of the random agents, at which the normalised score of a report is 0.

    Example:
        >>> Card("Which layer freezes next.", "The order matters.", ("random", "bottom-up")).controls[0]
        'random'
    """

    decision: str
    difficulty: str
    controls: tuple[str, ...]
    oracle: str | None = None
    optimum: float | str | None = None
    dials: Mapping[str, str] = field(default_factory=dict)
    floor: tuple[str, ...] = ("random",)


_cards: dict[str, Card] = {}
_agents: dict[str, str] = {}


def register_family(
    *,
    env: str,
    vector_env: str,
    presets: Mapping[str, Mapping[str, object]],
    card: Card,
    agents: Mapping[str, str] | None = None,
) -> None:
    """Register environment ids with Gymnasium, their card, and agents by name, without importing anything.

    Registering the same family again changes nothing. `examples/own_family.py` is a complete family.

    Args:
        env: Class of the batch of one, as "module:attribute".
        vector_env: Class of the batched environment, as "module:attribute".
        presets: JSON-serialisable keyword arguments of the environment, by id.
        card: Card of these ids.
        agents: Classes of agents as "module:attribute", by agent name.

    Raises:
        ValueError: If a location is not "module:attribute", or an id or a name is taken.
    """
    agents = {} if agents is None else agents
    for location in (env, vector_env, *agents.values()):
        if _LOCATION.fullmatch(location) is None:
            raise ValueError(f"{location!r} is not a location; write it as 'module:attribute'.")
    for name, location in agents.items():
        if _agents.setdefault(name, location) != location:
            raise ValueError(f"The agent name {name!r} is taken by {_agents[name]}; choose another name.")
    for env_id, kwargs in presets.items():
        _register(env_id, env, vector_env, dict(kwargs))
        _cards[env_id] = card


def _register(env_id: str, env: str, vector_env: str, kwargs: dict[str, object]) -> None:
    known = gym.registry.get(env_id)
    if known is None:
        gym.register(env_id, entry_point=env, vector_entry_point=vector_env, kwargs=kwargs)
    elif known.entry_point != env:
        raise ValueError(f"The id {env_id!r} is taken by {known.entry_point}; choose another name or version.")


def card(env_id: str) -> Card:
    """Return the card of an environment id.

    Raises:
        ValueError: If no family registered the id.
    """
    bare = env_id.rpartition(":")[2]
    if bare not in _cards:
        raise ValueError(f"There is no card of {env_id!r}; choose from {', '.join(_cards)}.")
    return _cards[bare]


def registered_ids() -> list[str]:
    """Return the environment ids of all families, in order of registration."""
    return list(_cards)


def registered_agents() -> dict[str, str]:
    """Return the locations of the agents of all families, by agent name."""
    return dict(_agents)


def load_packages() -> None:
    """Call the registration functions of other packages; warn about each one that fails."""
    for point in entry_points(group=GROUP):
        _call(point)


def _call(point: EntryPoint) -> None:
    try:
        point.load()()
    except Exception as error:  # code of another package may raise anything, and mtl_gym must still import
        package = point.dist.name if point.dist is not None else point.value
        warnings.warn(
            f"The environments of {package} ({point.value}) are not registered: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
