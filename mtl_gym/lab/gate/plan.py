"""Runs of the gate: oracle, controls, learners and stock algorithms on every benchmark id."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mtl_gym.data.roots import data_root
from mtl_gym.lab.agents import fits
from mtl_gym.lab.compare import plan_entries
from mtl_gym.lab.environments import card_of, is_benchmark, source_of, spec_of
from mtl_gym.lab.records import RunSettings
from mtl_gym.lab.references import references
from mtl_gym.registration import Card, registered_ids

# Algorithms of SB3 and sb3-contrib, with their defaults.
STOCK = ("ppo", "a2c", "dqn", "trpo", "maskable-ppo")
# Factor of the longer runs, where the card names no other lengths.
LONGER = 4
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """The runs of an id.

    Attributes:
        env_id: The id.
        card: Its card.
        runs: Runs of all agents at the card's length.
        lengths: Runs of oracle and controls at other lengths, by the name of the length.
    """

    env_id: str
    card: Card
    runs: Sequence[RunSettings]
    lengths: Mapping[str, Sequence[RunSettings]] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Folder of the runs at the card's length."""
        return self.env_id.rpartition(":")[2].replace("/", "-")

    def folder_at(self, length: str) -> str:
        """Return the folder of the runs at another length."""
        return f"{self.folder}-{length}"

    @property
    def parts(self) -> dict[str, Sequence[RunSettings]]:
        """All runs, by folder."""
        return {self.folder: self.runs, **{self.folder_at(name): runs for name, runs in self.lengths.items()}}

    @property
    def stock(self) -> list[str]:
        """Stock algorithms that support the action space."""
        return [name for name in self.names if name in STOCK]

    @property
    def learners(self) -> list[str]:
        """Agents that learn without knowing the best decisions."""
        return [name for name in self.names if name in STOCK or name in self.card.learners]

    @property
    def names(self) -> list[str]:
        """Names of all agents."""
        return list(dict.fromkeys(run.name for run in self.runs))


def benchmarks() -> list[str]:
    """Return the ids whose best decision is known."""
    return [env_id for env_id in registered_ids() if is_benchmark(env_id)]


def with_data(env_ids: Sequence[str]) -> list[str]:
    """Return the ids whose data are there, and log a warning for each other one."""
    sources = {env_id: source_of(env_id) for env_id in env_ids}
    absent = {env_id: one.name for env_id, one in sources.items() if one and not one.is_present(data_root())}
    for env_id, name in absent.items():
        _LOG.warning("%s is left out: get its data with `mtl-gym data get %s`", env_id, name)
    return [env_id for env_id in env_ids if env_id not in absent]


def trial(env_id: str, seeds: int) -> Trial:
    """Return the runs of an id.

    Raises:
        gymnasium.error.Error: If the id is unknown.
        ValueError: If the id is no benchmark.
    """
    spec_of(env_id)  # a module of `module:id` registers the card
    card = card_of(env_id)
    if card is None or card.oracle is None:
        raise ValueError(f"{env_id!r} is no benchmark: its card has no oracle. Choose from {', '.join(benchmarks())}.")
    base = RunSettings(env_id, card.oracle, card.steps, num_envs=card.num_envs)
    known = [card.oracle, *card.controls]
    learners = dict.fromkeys([*card.learners, *supported(base, STOCK)])
    entries = [*references(base, learners), *(replace(base, agent=name, name=name) for name in learners)]
    lengths = {
        name: plan_entries([replace(length, agent=agent, name=agent) for agent in known], seeds)
        for name, length in _lengths(base, card).items()
    }
    return Trial(env_id, card, plan_entries(entries, seeds), lengths)


def supported(base: RunSettings, algorithms: Sequence[str]) -> list[str]:
    """Return the algorithms of Stable-Baselines3 that support the spaces of an environment."""
    env = replace(base, num_envs=1).make_env()
    return [name for name in algorithms if fits(name, env)]


def _lengths(base: RunSettings, card: Card) -> dict[str, RunSettings]:
    """Return settings of the other lengths at which the distance must remain, by name."""
    if not card.lengths:
        return {f"x{LONGER}": replace(base, steps=LONGER * base.steps)}
    return {
        "-".join(f"{key}-{value}" for key, value in kwargs.items()): replace(base, env_kwargs=dict(kwargs))
        for kwargs in card.lengths
    }
