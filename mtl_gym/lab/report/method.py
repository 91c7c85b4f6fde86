"""Sections on reproducing the numbers of a report and on failed runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import yaml

from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab.files import read_origin
from mtl_gym.lab.records import RunSettings
from mtl_gym.lab.report.collection import Comparison, Run
from mtl_gym.lab.report.document import Block, Code, Section, Table

FAILED = "Runs that failed or did not finish"


def failures(comparisons: Sequence[Comparison]) -> Section:
    """Return the section on failed and unfinished runs."""
    lines = [[c.name, failure.agent, failure.seed, failure.error] for c in comparisons for failure in c.failures]
    if not lines:
        return Section(FAILED, ["None."])
    head = ["comparison", "agent", "seed", "error"]
    return Section(FAILED, [Table("These runs are in no figure of this report.", [head, *lines])])


def method(comparisons: Sequence[Comparison], command: str) -> Section:
    """Return the section with commands, settings files and versions that reproduce the numbers."""
    again = "mtl-gym compare --settings FILE --out FOLDER"
    blocks: list[Block] = [
        "The first command writes this report. The second repeats the runs of a comparison; FILE contains the "
        "settings listed below under the comparison's name.",
        Code(f"$ {command}\n$ {again}\n", "console"),
    ]
    for comparison in (comparison for comparison in comparisons if comparison.runs):
        blocks.append(f"{comparison.name}, with {_versions(comparison.runs)}:")
        blocks += [Code(text, "yaml") for text in settings_files([run.result.settings for run in comparison.runs])]
    return Section("How the numbers were made", blocks)


def _versions(runs: Sequence[Run]) -> str:
    """Return the package versions of all runs; differing versions are all listed."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in _versions_of(run):
            found.setdefault(name, {})[version] = None
    return ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())


def _versions_of(run: Run) -> list[tuple[str, str]]:
    """Return the package versions at the start of a run and at each resumption."""
    try:
        origin = read_origin(run.folder)
    except (FileNotFoundError, CheckpointError):
        return [("of some runs", "not known")]
    return [pair for part in (origin, *origin["resumed"]) for pair in part["versions"].items()]


def settings_files(runs: Sequence[RunSettings]) -> list[str]:
    """Return settings files for `compare` that repeat these runs, as YAML; one for each `num_envs`."""
    return [_settings_file([run for run in runs if run.num_envs == rows]) for rows in {run.num_envs: 0 for run in runs}]


def _settings_file(runs: Sequence[RunSettings]) -> str:
    steps = Counter(run.steps for run in runs).most_common(1)[0][0]
    agents = {run.name: _entry(run, steps) for run in runs}
    fields = {"env": runs[0].env_id, "steps": steps, "num_envs": runs[0].num_envs}
    seeds = {"seeds": 1 + max(run.seed for run in runs)}
    text = yaml.safe_dump(fields | seeds | {"agents": agents}, sort_keys=False, allow_unicode=True)
    return text.replace(": null\n", ":\n")  # the usual way to write it by hand


def _entry(run: RunSettings, steps: int) -> dict[str, object] | None:
    fields: dict[str, object] = {"agent": run.agent} if run.agent != run.name else {}
    fields |= {"steps": run.steps} if run.steps != steps else {}
    fields |= {key: value for key in ("env_kwargs", "agent_kwargs") if (value := getattr(run, key))}
    return fields or None
