"""Register families of environments: ours, and those of other packages.

A package announces a function through the entry-point group `mtl_gym.environments`; importing `mtl_gym` calls it, and
it calls `register_family`.
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
    """What the environments of a family are about.

    Attributes:
        decision: What an action decides.
        difficulty: Why the controls fall short of the optimum.
        controls: Names of the agents that others are compared with; the first is the default control.
        oracle: Name of the agent that knows the best decisions, or None.
        optimum: The best figure that a policy can reach, or how it is known; None where it is not known.
        dials: Options that set the difficulty, and in which direction.
        floor: Names of the agents that decide at random; a report counts scores from them.

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
    """Register environment ids with Gymnasium, their card, and agents by name; nothing is imported.

    Registering the same family again changes nothing. `examples/own_family.py` is a whole family.

    Args:
        env: The class of one environment, "module:attribute".
        vector_env: The class of the batched environment, "module:attribute".
        presets: By id, the keyword arguments of the environment; JSON-able.
        card: The card of these ids.
        agents: By name, the classes of agents, "module:attribute".

    Raises:
        ValueError: If a location is not "module:attribute", or an id or a name is taken.
    """
    agents = {} if agents is None else agents
    for location in (env, vector_env, *agents.values()):
        if _LOCATION.fullmatch(location) is None:
            raise ValueError(f"{location!r} is no location; write it as 'module:attribute'.")
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
        raise ValueError(f"There is no card of {env_id!r}; there are cards of {', '.join(_cards)}.")
    return _cards[bare]


def registered_ids() -> list[str]:
    """Return the ids that families registered, in their order."""
    return list(_cards)


def registered_agents() -> dict[str, str]:
    """Return the locations of the agents that families registered, by name."""
    return dict(_agents)


def load_packages() -> None:
    """Call the functions that other packages announce; warn of each that fails."""
    for point in entry_points(group=GROUP):
        _call(point)


def _call(point: EntryPoint) -> None:
    try:
        point.load()()
    except Exception as error:  # another package's code may raise anything, and ours is to work all the same
        package = point.dist.name if point.dist is not None else point.value
        warnings.warn(
            f"The environments of {package} ({point.value}) are not registered: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
