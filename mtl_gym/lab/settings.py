"""Settings files: a comparison as YAML, reproducible by one command.

```yaml
env: MTLRouting-Digits-v0
steps: 600000          # decisions of each run
num_envs: 64           # optional, as are env_kwargs for all agents
seeds: 3
first_seed: 100        # optional, default 0: seeds 100, 101, 102
folds: 5               # optional, for data sets with the argument `fold`: seed s has fold s modulo 5
agents:
  wpl:                 # name of an agent
  recursive:           # or a name of your own
    agent: wpl
    steps: 300000      # optional, replaces the steps above
    env_kwargs: {layering: false}
    agent_kwargs: {policy_learning_rate: 0.01}
```

Write a data set or network of your own as `module:function`; see `locations`:

```yaml
env_kwargs: {data: "mypackage.data:make", network: "mypackage.nets:make"}
```
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mtl_gym.core.rows import Arguments
from mtl_gym.core.validation import short
from mtl_gym.lab.compare import plan_entries
from mtl_gym.lab.files import registered
from mtl_gym.lab.parsing import parse_yaml, read_text
from mtl_gym.lab.records import RunSettings, check_name

TOP: dict[str, type] = {
    **{"env": str, "steps": int, "seeds": int, "first_seed": int, "folds": int, "num_envs": int},
    **{"env_kwargs": dict, "agents": dict},
}
NEEDED = ("env", "steps", "agents")
ENTRY: dict[str, type] = {"agent": str, "steps": int, "env_kwargs": dict, "agent_kwargs": dict}


def read_comparison(path: Path, **changes: int | None) -> list[RunSettings]:
    """Return the runs of the comparison in a settings file, in order of execution.

    Args:
        path: The file.
        **changes: Replacements for the file's `steps`, `seeds`, `first_seed` or `num_envs`.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a key is missing or unknown, or has a value of the wrong type.
    """
    fields = _checked(_parsed(path), TOP, str(path))
    fields |= {name: value for name, value in changes.items() if value is not None}
    for name in NEEDED:
        if not fields.get(name):
            raise ValueError(f"{path} has no {name!r}; a comparison needs {', '.join(NEEDED)}.")
    shared = {"num_envs": fields["num_envs"]} if "num_envs" in fields else {}
    env_id = registered(fields["env"], path)
    base = RunSettings(env_id, "", fields["steps"], env_kwargs=fields.get("env_kwargs", {}), **shared)
    entries = [_entry(base, name, entry, path) for name, entry in fields["agents"].items()]
    runs = plan_entries(entries, fields.get("seeds", 3), fields.get("first_seed", 0))
    return [_in_fold(run, fields["folds"]) for run in runs] if "folds" in fields else runs


def _in_fold(run: RunSettings, folds: int) -> RunSettings:
    """Return the run on the fold of its seed.

    Raises:
        ValueError: If `data_kwargs` are no mapping.
    """
    given = run.env_kwargs.get("data_kwargs") or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"agent {run.name!r}: data_kwargs={short(given)} is not possible; it takes a mapping.")
    arguments = {**given, "fold": run.seed % folds}
    return dataclasses.replace(run, env_kwargs=run.env_kwargs | {"data_kwargs": arguments})


def _parsed(path: Path) -> object:
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {path}.")
    return parse_yaml(read_text(path), str(path))


def _entry(base: RunSettings, name: str, entry: object, path: Path) -> RunSettings:
    check_name(f"{path}: agent", name)
    where = f"agent {name!r} in {path}"
    fields = _checked({} if entry is None else entry, ENTRY, where)
    return dataclasses.replace(
        base,
        name=name,
        agent=fields.get("agent", name),
        steps=fields.get("steps", base.steps),
        env_kwargs=base.env_kwargs | fields.get("env_kwargs", {}),
        agent_kwargs=fields.get("agent_kwargs", {}),
    )


def _checked(fields: object, kinds: dict[str, type], where: str) -> Arguments:
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is {short(fields)}; it takes a mapping with {', '.join(kinds)}.")
    for name, value in fields.items():
        if name not in kinds:
            raise ValueError(f"{where} has {name!r}, which is unknown; it takes {', '.join(kinds)}.")
        right = isinstance(value, kinds[name]) and not isinstance(value, bool)
        least = 0 if name == "first_seed" else 1
        if not right or (isinstance(value, int) and value < least):
            wanted = {int: f"a number, {least} or more", dict: "a mapping", str: "text"}[kinds[name]]
            raise ValueError(f"{where}: {name} is {short(value)}; it takes {wanted}.")
    return fields
