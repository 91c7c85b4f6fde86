"""Reference runs beside the agents of a comparison: oracle, controls, random choices, an untrained network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mtl_gym.lab.agents import needed_by
from mtl_gym.lab.environments import card_of
from mtl_gym.lab.records import RunSettings

# Agents that do not learn, on every id.
RANDOM, UNTRAINED = "random", "ppo-untrained"


def references(base: RunSettings, names: Iterable[str] = ()) -> list[RunSettings]:
    """Return the reference runs of a comparison on an environment with a card.

    They are the oracle, every control and random choices, and, beside PPO, a PPO with learning rate 0: what its network
    decides before it has learned anything. A control that cannot be made without arguments is left out: only the user
    knows them.

    Args:
        base: Environment, decisions, seed and rows.
        names: Names of the compared runs, which are left out.

    Raises:
        ValueError: If the environment has no card.

    Example:
        >>> [run.name for run in references(RunSettings("MTLRouting-Context-v0", "ppo", 1), ["ppo"])]
        ['oracle', 'random-fixed', 'task-specific-all', 'shared', 'random', 'ppo-untrained']
    """
    card, names = card_of(base.env_id), list(names)
    if card is None:
        raise ValueError(f"{base.env_id!r} has no card, so its references are unknown: name them as agents.")
    known = dict.fromkeys([*([card.oracle] if card.oracle else []), *card.controls, RANDOM])
    runs = [replace(base, agent=name, name=name, agent_kwargs={}) for name in known if not needed_by(name)]
    if "ppo" in names and UNTRAINED not in names:
        runs.append(replace(base, agent="ppo", name=UNTRAINED, agent_kwargs={"learning_rate": 0.0}))
    return [run for run in runs if run.name not in names]
