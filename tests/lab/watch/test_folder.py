"""States of runs, read from files that are half written, damaged or from an earlier attempt."""

import json
import os

import pytest

from mtl_gym.lab.watch import folder as watched
from mtl_gym.lab.watch.folder import WatchedFolder
from tests.lab.report.conftest import write_failure, write_json, write_run


def write_unfinished(folder, name, seed, curve=()):
    out = write_run(folder, name, seed, 0.5, curve)
    (out / "result.json").unlink()
    return out


def states(folder):
    return {f"{run.name}/{run.seed}": run.state for run in folder.look()}


def plan(folder, *runs):
    write_json(folder / "plan.json", {"runs": dict.fromkeys(runs, 1000)})


def test_runs_are_finished_failed_training_or_waiting(tmp_path):
    plan(tmp_path, *(f"{name}/seed-0" for name in ("done", "broken", "begun", "planned")))
    write_run(tmp_path, "done", 0, 0.5)
    write_failure(tmp_path, "broken", 0, "The training diverged.")
    write_unfinished(tmp_path, "begun", 0, [0.25, 0.5])
    folder = WatchedFolder(tmp_path)
    assert states(folder) == {
        "done/0": "finished",
        "broken/0": "failed",
        "begun/0": "training",
        "planned/0": "waiting",
    }
    runs = {run.name: run for run in folder.look()}
    assert runs["broken"].note == "The training diverged."
    assert list(runs["begun"].curve.figure) == [25, 50] and runs["begun"].decisions == 1000
    assert runs["planned"].steps == 1000 and runs["planned"].wrote == 0 < runs["begun"].wrote


def test_runs_are_found_without_a_plan(tmp_path):
    write_run(tmp_path / "paths", "wpl", 0, 0.5)
    write_unfinished(tmp_path / "paths", "ppo", 3)
    assert states(WatchedFolder(tmp_path)) == {"ppo/3": "training", "wpl/0": "finished"}


def test_a_run_alone_is_named_by_its_settings(tmp_path):
    out = write_run(tmp_path, "wpl", 4, 0.5).rename(tmp_path / "mine")
    assert states(WatchedFolder(out)) == {"wpl/4": "finished"}


def test_a_failure_from_before_the_last_attempt_waits(tmp_path):
    write_failure(tmp_path, "wpl", 0, "The disk is full.")
    os.utime(tmp_path / "wpl" / "seed-0" / "error.json", (1, 1))
    plan(tmp_path, "wpl/seed-0")
    (run,) = WatchedFolder(tmp_path).look()
    assert (run.state, run.note) == ("waiting", "The disk is full.")


def test_a_half_written_result_is_read_when_it_is_whole(tmp_path):
    result = write_run(tmp_path, "wpl", 0, 0.5) / "result.json"
    whole = result.read_bytes()
    result.write_bytes(whole[:40])
    folder = WatchedFolder(tmp_path)
    (run,) = folder.look()
    assert run.state == "damaged" and run.result is None
    assert run.note.startswith("The result in wpl/seed-0/result.json cannot be read")
    result.write_bytes(whole)
    (run,) = folder.look()
    assert (run.state, run.note, run.result.figure) == ("finished", "", 50.0)


def test_a_damaged_curve_keeps_what_was_read_before(tmp_path):
    progress = write_unfinished(tmp_path, "wpl", 0, [0.25, 0.5]) / "progress.csv"
    folder = WatchedFolder(tmp_path)
    folder.look()
    progress.write_text("steps,epoch,accuracy\n500,1,0.")
    (run,) = folder.look()
    assert run.state == "training" and list(run.curve.figure) == [25, 50]
    assert run.note.startswith("The progress in wpl/seed-0/progress.csv cannot be read")


def test_only_what_has_changed_is_read(tmp_path, monkeypatch):
    read = []
    for name in ("read_settings", "read_curve", "read_result"):
        function = getattr(watched, name)
        monkeypatch.setattr(watched, name, lambda path, f=function, name=name: (read.append(name), f(path))[1])
    finished = write_run(tmp_path, "wpl", 0, 0.5, [0.5])
    begun = write_unfinished(tmp_path, "ppo", 0, [0.25])
    folder = WatchedFolder(tmp_path)
    first = folder.look()
    assert sorted(read) == ["read_curve", "read_curve", "read_result", "read_settings", "read_settings"]
    read.clear()
    assert folder.look() == first and read == []
    (begun / "progress.csv").write_text("steps,epoch,accuracy\n500,1,0.5\n")
    folder.look()
    assert read == ["read_curve"]
    (finished / "result.json").unlink()
    assert states(folder)["wpl/0"] == "training"


def test_a_folder_that_disappears_is_no_error(tmp_path):
    write_run(tmp_path, "wpl", 0, 0.5).rename(tmp_path / "elsewhere")
    folder = WatchedFolder(tmp_path)
    assert folder.look() == []


@pytest.mark.parametrize(
    "runs",
    [{"/etc/seed-0": 1}, {"../wpl/seed-0": 1}, {"wpl": 1}, {"wpl/seed-0": 0}, {"wpl/seed-0": "many"}, ["wpl/seed-0"]],
)
def test_an_impossible_plan_is_a_note(tmp_path, runs):
    (tmp_path / "plan.json").write_text(json.dumps({"runs": runs}))
    folder = WatchedFolder(tmp_path)
    assert folder.look() == []
    assert folder.note.startswith("The plan in plan.json cannot be read") and str(tmp_path) not in folder.note
