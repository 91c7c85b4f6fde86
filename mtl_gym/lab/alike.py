"""Separation of the runs whose figures can be compared from the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, replace

from mtl_gym.lab.records import RunResult, RunSettings, difference

Odd = dict[int, str]


def alike(results: Sequence[RunResult]) -> tuple[list[RunResult], list[tuple[RunResult, str]]]:
    """Separate the comparable runs from the others; return both, the others with a reason.

    Comparable runs of one name have equal settings apart from seed and fold. All comparable runs have the same tasks
    and figures of the same kind and tasks. The most frequent stay, of several the first.
    """
    names = dict.fromkeys(result.settings.name for result in results)
    odd: Odd = {}
    for name in names:
        runs = {number: result for number, result in enumerate(results) if result.settings.name == name}
        odd |= _separate(runs, _settings, _other_settings)
    for key, told in ((_tasks, _other_tasks), (_kind, _other_kind)):
        odd |= _separate({n: result for n, result in enumerate(results) if n not in odd}, key, told)
    kept = [result for number, result in enumerate(results) if number not in odd]
    return kept, [(results[number], odd[number]) for number in sorted(odd)]


def _separate(
    runs: Mapping[int, RunResult],
    key: Callable[[RunResult], Hashable],
    told: Callable[[RunResult, RunResult], str],
) -> Odd:
    """Return why runs have another key than most; runs with the key None fit all.

    Args:
        runs: The runs by number.
        key: Function of a run.
        told: Function of an odd run and a usual one that returns the reason.
    """
    keys = {number: found for number, run in runs.items() if (found := key(run)) is not None}
    if not keys:
        return {}
    usual = Counter(keys.values()).most_common(1)[0][0]
    first = next(runs[number] for number, found in keys.items() if found == usual)
    return {number: told(runs[number], first) for number, found in keys.items() if found != usual}


def _settings(result: RunResult) -> str:
    return json.dumps(asdict(_apart_from_seed(result.settings)), sort_keys=True)


def _apart_from_seed(settings: RunSettings) -> RunSettings:
    """Return settings without seed and fold, in which the runs of one name may differ."""
    data = settings.env_kwargs.get("data_kwargs")
    if not isinstance(data, Mapping):
        return replace(settings, seed=0)
    rest = {name: value for name, value in data.items() if name != "fold"}
    return replace(settings, seed=0, env_kwargs={**settings.env_kwargs, "data_kwargs": rest})


def _other_settings(odd: RunResult, usual: RunResult) -> str:
    here, there = difference(_apart_from_seed(odd.settings), _apart_from_seed(usual.settings))
    return f"it has {here}; the compared runs of {usual.settings.name} have {there}."


def _tasks(result: RunResult) -> Hashable:
    return tuple(result.per_task)


def _other_tasks(odd: RunResult, usual: RunResult) -> str:
    return f"its result has the tasks {', '.join(odd.per_task)}; the compared runs have {', '.join(usual.per_task)}."


def _kind(result: RunResult) -> Hashable:
    return None if result.figure_tasks is None else (result.measure, tuple(result.figure_tasks))


def _other_kind(odd: RunResult, usual: RunResult) -> str:
    return f"its figure is {_figure(odd)}; that of the compared runs is {_figure(usual)}."


def _figure(result: RunResult) -> str:
    return f"{result.measure.name} of {', '.join(result.figure_tasks or ()) or 'all tasks'}"
