"""Entries of the leaderboard: settings and figures of an agent on an environment, as a YAML file.

```yaml
env: MTLRouting-Paths-v0
agent: q-history
steps: 30000
num_envs: 64
seeds:                 # figure of each run; `sampled` for agents that learn
  0: {figure: 99.1, sampled: 98.7}
versions: {python: 3.11.7, torch: 2.13.0}
cpu_seconds: 6.1       # of a run, mean over seeds
```

`env_kwargs`, `agent_kwargs`, `tuning` (how other settings than the defaults were chosen) and `requires` (how to install
an agent of another package) are optional. The file's name is the name of the agent in tables, its folder the id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.measure import Measure
from mtl_gym.core.rows import Arguments
from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.core.validation import short
from mtl_gym.lab.files import read_origin, read_result, reading, registered
from mtl_gym.lab.locations import locations
from mtl_gym.lab.parsing import parse_yaml, read_text
from mtl_gym.lab.records import RunResult, RunSettings, built, require, settings_of
from mtl_gym.lab.references import UNTRAINED

MOST_THREADS = 1024


@dataclass(frozen=True)
class Figures:
    """Figures of a run on the test split.

    Attributes:
        figure: That of the likeliest actions, in the unit of the environment's measure.
        sampled: That of sampled actions; None for agents that are no learners.
    """

    figure: float
    sampled: float | None = None


@dataclass(frozen=True)
class Entry:
    """An agent on an environment.

    Attributes:
        env: Registered environment id.
        agent: Name of the agent.
        steps: Decisions of a run.
        num_envs: Rows of the environment.
        seeds: Figures by seed.
        versions: Versions by package, as in the `config.json` of a run.
        cpu_seconds: Processor seconds of a run, mean over seeds.
        env_kwargs: Keyword arguments of the environment.
        agent_kwargs: Keyword arguments of the agent.
        tuning: How settings other than the defaults were chosen.
        requires: How to install the agent, if another package brings it.
        name: Name in tables; default that of the agent.
    """

    env: str
    agent: str
    steps: int
    num_envs: int
    seeds: Mapping[int, Figures]
    versions: Mapping[str, str]
    cpu_seconds: float
    env_kwargs: Arguments = field(default_factory=dict)
    agent_kwargs: Arguments = field(default_factory=dict)
    tuning: str = ""
    requires: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Default `name` to the agent's; check the fields.

        Raises:
            ValueError: If there is no seed, a number is out of range, or the choice of settings is not told.
        """
        object.__setattr__(self, "name", self.name or self.agent)
        for key in ("steps", "num_envs"):
            require(key, getattr(self, key), 1)
        require("cpu_seconds", self.cpu_seconds, 0)
        threads = str(self.versions.get("threads", 1))
        if not threads.isdecimal() or not 1 <= int(threads) <= MOST_THREADS:
            raise ValueError(f"threads={short(threads)} is not possible; it takes a number from 1 to {MOST_THREADS}")
        for option, location in locations(self.env_kwargs).items():
            raise ValueError(
                f"env_kwargs has {option}={location!r}, and an entry calls no function; register an environment id "
                "with your own data set or network, and give that id"
            )
        if not self.seeds:
            raise ValueError("seeds={} is not possible; an entry has the figures of one seed or more")
        for seed, figures in self.seeds.items():
            require("seed", seed, 0)
            require(f"figure of seed {seed}", figures.figure)
            require(f"sampled of seed {seed}", 0 if figures.sampled is None else figures.sampled)
        untrained = (self.name, self.agent, self.agent_kwargs) == (UNTRAINED, "ppo", {"learning_rate": 0.0})
        if self.agent_kwargs and not self.tuning and not untrained:
            raise ValueError(
                f"agent_kwargs={self.agent_kwargs} differ from the defaults; say in `tuning` how they were chosen, on "
                "which instances and seeds"
            )

    @property
    def threads(self) -> int:
        """Number of torch's threads in a run, on which last digits depend."""
        return int(self.versions.get("threads", 1))

    def settings(self, seed: int) -> RunSettings:
        """Return the settings of a run."""
        fields = {key: getattr(self, key) for key in ("agent", "steps", "num_envs", "env_kwargs", "agent_kwargs")}
        return settings_of({"env_id": self.env, "seed": seed, "name": self.name, **fields})

    def results(self, measure: Measure) -> list[RunResult]:
        """Return the runs as results that have the fields of a score, and no others."""
        return [
            RunResult(self.settings(seed), 0.0, {}, None, None, 0.0, 0.0, {}, run.figure, measure, run.sampled)
            for seed, run in self.seeds.items()
        ]


OPTIONAL = ("env_kwargs", "agent_kwargs", "tuning", "requires")


def read_entry(path: Path) -> Entry:
    """Return the entry in a file.

    Raises:
        FileNotFoundError: If the file does not exist.
        CheckpointError: If it is no entry, or its environment is not registered.
    """
    if not path.is_file():
        told = "is no regular file" if path.exists() else "does not exist"
        told = "is a folder: give a file ID/AGENT.yaml in it" if path.is_dir() else told
        raise FileNotFoundError(f"The entry {path} {told}.")
    with reading("entry", path):
        fields = parse_yaml(read_text(path), path.name)
        if not isinstance(fields, Mapping):
            raise ValueError("it is not a mapping")
        seeds = fields.get("seeds")
        if not isinstance(seeds, Mapping):
            raise ValueError("`seeds` takes a mapping from seeds to figures")
        figures = {seed: built(Figures, run) for seed, run in seeds.items()}
        entry = built(Entry, {**fields, "seeds": figures, "name": path.stem})
        registered(entry.env, path)
        for seed in entry.seeds:
            settings = entry.settings(seed)
            if not entry.requires:  # otherwise its package may not be installed
                settings.check()
        return entry


def read_entries(folder: Path) -> list[Entry]:
    """Return the entries in FOLDER/ID/NAME.yaml, sorted by path.

    Raises:
        CheckpointError: If a file is no entry, or lies in the folder of another id.
    """
    found = {path: read_entry(path) for path in sorted(folder.rglob("*.yaml"))}
    for path, entry in found.items():
        if path.parent != folder / folder_of(entry.env):
            raise CheckpointError(f"The entry {path} is of {entry.env}: move it to {folder / folder_of(entry.env)}.")
    return list(found.values())


def folder_of(env: str) -> str:
    """Return the folder of an id's entries."""
    return env.replace("/", "-")


def entry_of(runs: Path, tuning: str = "", requires: str = "") -> Entry:
    """Return the finished runs of an agent as an entry.

    Args:
        runs: Folder of an agent in a comparison, with a folder per seed.
        tuning: How settings other than the defaults were chosen.
        requires: How to install the agent, if another package brings it.

    Raises:
        FileNotFoundError: If the folder has no run, or a run is not finished.
        CheckpointError: If a file cannot be read.
        ValueError: If the runs differ in more than the seed.
    """
    folders = sorted(runs.glob("seed-*"), key=lambda path: (len(path.name), path.name))
    if not folders:
        raise FileNotFoundError(
            f"{runs} has no folders seed-0, seed-1, ...: give the folder of one agent, COMPARISON/AGENT."
        )
    results = [read_result(folder) for folder in folders]
    settings, versions = _common(runs, results), _versions(runs, folders)
    seconds = [result.cpu_seconds for result in results if result.cpu_seconds is not None]
    return Entry(
        env=settings.env_id.rpartition(":")[2],
        seeds={result.settings.seed: Figures(result.figure, result.sampled) for result in results},
        versions=versions,
        cpu_seconds=round(float(np.mean(seconds)), 1) if seconds else 0.0,
        tuning=tuning,
        requires=requires,
        **{key: getattr(settings, key) for key in ("agent", "steps", "num_envs", "env_kwargs", "agent_kwargs", "name")},
    )


def _common(runs: Path, results: list[RunResult]) -> RunSettings:
    first, *others = [replace(result.settings, seed=0) for result in results]
    if any(other != first for other in others):
        raise ValueError(f"The runs in {runs} differ in more than the seed; an entry has one setting.")
    return first


def _versions(runs: Path, folders: list[Path]) -> dict[str, str]:
    """Return the versions of all runs."""
    parts = [part for folder in folders for origin in [read_origin(folder)] for part in [origin, *origin["resumed"]]]
    first, *others = [part["versions"] for part in parts]
    for other in others:
        if other != first:
            differing = ", ".join(sorted(key for key in {*first, *other} if first.get(key) != other.get(key)))
            raise ValueError(f"The runs in {runs} were made with several versions ({differing}); make them with one.")
    return first


def write_entry(entry: Entry, folder: Path) -> Path:
    """Write an entry to FOLDER/ID/NAME.yaml; return the path."""
    fields = {key: value for key, value in asdict(entry).items() if key != "name"}
    kept = {key: value for key, value in fields.items() if key not in OPTIONAL or value}
    path = folder / folder_of(entry.env) / f"{entry.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path
