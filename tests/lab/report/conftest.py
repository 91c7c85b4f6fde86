"""Fixtures that write finished and failed runs without training."""

import csv
import json
from dataclasses import asdict

import pytest

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.lab.figures import task_accuracies
from mtl_gym.lab.pictures import write_picture
from mtl_gym.lab.report import aggregate
from mtl_gym.lab.run import RunResult, RunSettings

DIGITS, PATHS = "MTLRouting-Digits-v0", "MTLRouting-Paths-v0"


def write_json(path, value):
    write_atomically(path, lambda file: file.write(json.dumps(value).encode()))


def write_run(folder, name, seed, accuracy, curve=(), env_id=DIGITS, agent=None, picture=False, **changes):
    """Write a finished run of two tasks; `curve` has validation accuracies at equal intervals.

    Return its folder, FOLDER/NAME/seed-SEED.
    """
    settings = RunSettings(env_id, agent or name, 1000, seed, 16, name=name, **changes)
    tasks = {"one": accuracy - 0.05, "two": accuracy + 0.05}
    result = RunResult(settings, accuracy, tasks, 0.5, 7, 2.0, 1234.5)
    out = folder / name / f"seed-{seed}"
    out.mkdir(parents=True)
    write_json(out / "config.json", {"settings": asdict(settings), "versions": {"python": "3.11", "torch": "2.13"}})
    write_json(out / "result.json", asdict(result))
    if curve:
        with open(out / "progress.csv", "w") as file:
            table = csv.writer(file)
            table.writerow(["steps", "epoch", "accuracy"])
            table.writerows([1000 * (n + 1) // len(curve), n, value] for n, value in enumerate(curve))
    if picture:
        write_picture(task_accuracies([result]), out / "routing_map.png")
    return out


def write_failure(folder, name, seed, error):
    write_json(folder / name / f"seed-{seed}" / "error.json", {"error": error})


@pytest.fixture
def quick(monkeypatch):
    """Reduce the bootstrap to 20 repetitions for tests that ignore intervals."""
    monkeypatch.setattr(aggregate, "REPETITIONS", 20)


def write_comparison(folder):
    """Write three agents with three seeds and curves; the control has 0.5 and the oracle 0.9."""
    for seed, noise in enumerate((-0.02, 0.0, 0.02)):
        write_run(folder, "random-fixed", seed, 0.5, [0.5, 0.5, 0.5, 0.5], PATHS, picture=not seed)
        write_run(folder, "oracle", seed, 0.9 + noise, [0.6, 0.7, 0.8, 0.9], PATHS)
        write_run(folder, "wpl", seed, 0.7 + 2 * noise, [0.5, 0.6, 0.6, 0.7], PATHS, picture=not seed)
    return folder


@pytest.fixture
def comparison(tmp_path):
    return write_comparison(tmp_path / "paths")
