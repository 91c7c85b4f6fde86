"""How the numbers of a report were made, so that they can be made again, and which runs gave none."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from mtl_gym.experiments.report.collection import CONFIG, Comparison, Run
from mtl_gym.experiments.report.document import Block, Code, Section, Table
from mtl_gym.experiments.run import RunSettings


def failures(comparisons: Sequence[Comparison]) -> Section:
    """The runs that are not in any figure."""
    lines = [[c.name, failure.agent, failure.seed, failure.error] for c in comparisons for failure in c.failures]
    if not lines:
        return Section("Runs that failed", ["None."])
    head = ["comparison", "agent", "seed", "what happened"]
    return Section("Runs that failed", [Table("These runs are in no figure of this report.", [head, *lines])])


def method(comparisons: Sequence[Comparison], command: str) -> Section:
    """How the numbers were made, so that they can be made again."""
    blocks: list[Block] = ["This report is written by:", Code(f"{command}\n", "console")]
    for comparison in (comparison for comparison in comparisons if comparison.runs):
        blocks.append(
            f"{comparison.name}: `mtl-gym compare --settings FILE --out FOLDER` makes the runs again, with this FILE. "
            f"Versions: {_versions(comparison.runs)}."
        )
        blocks += [Code(text, "yaml") for text in settings_files([run.result.settings for run in comparison.runs])]
    return Section("How the numbers were made", blocks)


def _versions(runs: Sequence[Run]) -> str:
    """Of all runs together; where they differ, all that there are."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        try:
            versions = json.loads((run.folder / CONFIG).read_text())["versions"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            versions = [("of some runs", "not known")]
        for name, version in versions:
            found.setdefault(name, {})[str(version)] = None
    return ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())


def settings_files(runs: Sequence[RunSettings]) -> list[str]:
    """Settings files from which `compare` makes these runs again, as YAML; one for each number of rows."""
    return [_settings_file([run for run in runs if run.num_envs == rows]) for rows in {run.num_envs: 0 for run in runs}]


def _settings_file(runs: Sequence[RunSettings]) -> str:
    first = runs[0]
    agents = {run.name: _entry(run, first) for run in runs}
    fields = {"env": first.env_id, "steps": first.steps, "num_envs": first.num_envs}
    seeds = {"seeds": 1 + max(run.seed for run in runs)}
    return yaml.safe_dump(fields | seeds | {"agents": agents}, sort_keys=False, allow_unicode=True)


def _entry(run: RunSettings, first: RunSettings) -> dict[str, object] | None:
    fields: dict[str, object] = {"agent": run.agent} if run.agent != run.name else {}
    fields |= {"steps": run.steps} if run.steps != first.steps else {}
    fields |= {key: value for key in ("env_kwargs", "agent_kwargs") if (value := getattr(run, key))}
    return fields or None
