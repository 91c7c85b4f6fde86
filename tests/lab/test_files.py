"""Damaged files of a run: errors have file, key and allowed values, and do not affect other runs."""

import csv
import json
import os
import shutil
import sys
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.lab import cli
from mtl_gym.lab.pictures import draw_curves, redraw
from mtl_gym.lab.report.collection import read_comparisons
from mtl_gym.lab.run import RunSettings, restore, train

from .conftest import DIGITS, read_only
from .report.conftest import write_run

GONE = object()


def call(*arguments):
    outcome = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exc_info
    return outcome


def change(path, *keys, value):
    """Set or remove the value at a path of keys in a JSON file."""
    whole = part = json.loads(path.read_text())
    for key in keys[:-1]:
        part = part[key]
    if value is GONE:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    path.write_text(json.dumps(whole))


@pytest.fixture
def comparison(tmp_path):
    """Write two agents with two seeds each, without training."""
    for seed in (0, 1):
        for name in ("wpl", "random-fixed"):
            write_run(tmp_path / "out", name, seed, 0.5, [0.25, 0.5])
    return tmp_path / "out"


SETTINGS = [
    ("num_envs", "a", "num_envs='a' is not possible; it takes a whole number"),
    ("num_envs", 0, "num_envs=0 is not possible; it takes a finite number, 1 or more"),
    ("steps", GONE, "'steps' is missing"),
    ("seed", -1, "seed=-1 is not possible"),
    ("env_id", None, "env_id=None is not possible; it takes text"),
    ("env_kwargs", [], "env_kwargs=[] is not possible; it takes a mapping"),
    ("name", "../up", "valid folder name"),
    ("name", "a\0b", "valid folder name"),
    ("stepps", 3, "has no field 'stepps'. Did you mean 'steps'?"),
]
RESULT = [
    ("per_task", None, "per_task=None is not possible; it takes a mapping"),
    ("per_task", {}, "is not the mean of per_task"),
    ("per_task", {"one": "a"}, "per_task['one']='a' is not possible"),
    ("per_task", {"one": float("nan")}, "per_task['one']=nan is not possible; it takes a finite number, 1 or less"),
    ("accuracy", True, "accuracy=True is not possible"),
    ("accuracy", 0.6, "accuracy=0.6 is not the mean of per_task"),
    ("accuracy", 7.5, "accuracy=7.5 is not possible"),
    ("accuracy", GONE, "'accuracy' is missing"),
    ("loss", float("inf"), "loss=inf is not possible"),
    ("f1", {"one": None}, "f1['one']=None is not possible"),
    ("samples_per_second", "fast", "samples_per_second='fast' is not possible"),
    ("settings", None, "None is not a mapping"),
]
WHOLE = [
    (b"", "is not JSON"),
    (b'{"accuracy": ', "is not JSON"),
    (b"[]", "contains a list; it takes a mapping"),
    (b"\xff\xfe", "is not UTF-8 text"),
    (b"[" * 20_000, "is nested too deeply"),
    (b'{"settings": 1, "settings": 2}', "has 'settings' twice"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), SETTINGS)
def test_settings_are_checked_key_by_key(comparison, key, value, sentence):
    path = comparison / "wpl" / "seed-0" / "config.json"
    change(path, "settings", key, value=value)
    with pytest.raises(CheckpointError) as caught:
        restore(path.parent)
    assert f"{path} cannot be read" in str(caught.value) and sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value", "sentence"), RESULT)
def test_an_invalid_result_is_a_failure_with_its_reason(comparison, key, value, sentence):
    change(comparison / "wpl" / "seed-0" / "result.json", key, value=value)
    (found,) = read_comparisons(comparison)
    assert len(found.runs) == 3
    (failure,) = found.failures
    assert (failure.agent, failure.seed) == ("wpl", "0")
    assert failure.error.startswith("The result in wpl/seed-0/result.json cannot be read") and sentence in failure.error


@pytest.mark.parametrize("name", ["config.json", "result.json"])
@pytest.mark.parametrize(("content", "sentence"), WHOLE)
def test_an_unreadable_file_is_a_failure_with_its_reason(comparison, name, content, sentence):
    (comparison / "wpl" / "seed-0" / name).write_bytes(content)
    (found,) = read_comparisons(comparison)
    (failure,) = found.failures
    assert len(found.runs) == 3 and f"wpl/seed-0/{name} cannot be read" in failure.error and sentence in failure.error


def test_a_result_with_other_settings_is_a_failure(comparison):
    shutil.copy(comparison / "wpl" / "seed-1" / "result.json", comparison / "wpl" / "seed-0" / "result.json")
    (failure,) = read_comparisons(comparison)[0].failures
    assert "other settings than config.json" in failure.error


def test_runs_with_other_tasks_are_failures_with_their_reason(comparison):
    path = comparison / "wpl" / "seed-0" / "result.json"
    change(path, "per_task", value={"one": 0.5})
    (found,) = read_comparisons(comparison)
    (failure,) = found.failures
    assert failure.agent == "wpl" and "tasks one;" in failure.error and "have one, two." in failure.error


def test_broken_links_are_failures_with_their_reason(comparison):
    (comparison / "wpl" / "seed-2").symlink_to("seed-2")
    (comparison / "wpl" / "seed-0" / "result.json").unlink()
    (comparison / "wpl" / "seed-0" / "result.json").symlink_to("result.json")
    told = {failure.seed: failure.error for failure in read_comparisons(comparison)[0].failures}
    assert "broken link" in told["2"]
    assert "Too many levels of symbolic links" in told["0"]


@pytest.mark.parametrize("arguments", [("report",), ("figures",), ("evaluate",)])
def test_a_loop_of_links_prints_one_line(tmp_path, arguments):
    (tmp_path / "loop").symlink_to("loop")
    outcome = call(*arguments, tmp_path / "loop")
    assert outcome.exit_code == 1 and outcome.output.startswith("error: ") and outcome.output.count("\n") == 1


def test_compare_into_a_loop_of_links_reports_the_failure(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    options = ("--agents", "random-fixed", "--seeds", 1, "--steps", 16, "--num-envs", 16, "--quiet")
    outcome = call("compare", DIGITS, *options, "--out", tmp_path / "loop")
    assert outcome.exit_code == 1 and "1 of the runs failed" in outcome.output and "Traceback" not in outcome.output


def test_a_pipe_in_place_of_a_file_is_a_failure_and_does_not_block(comparison):
    path = comparison / "wpl" / "seed-0" / "result.json"
    path.unlink()
    os.mkfifo(path)
    found = []
    reader = threading.Thread(target=lambda: found.append(read_comparisons(comparison)[0]), daemon=True)
    reader.start()
    reader.join(20)
    assert found and "result.json is not a regular file" in found[0].failures[0].error


PROGRESS = [
    "steps,epoch,accuracy\r\n500,0,nan\r\n",
    "steps,epoch,accuracy\r\n500,0,7.5\r\n",
    "steps,epoch,accuracy\r\n500,0,0.5\r\n400,0,0.5\r\n",
    "steps,epoch,accuracy\r\n500.5,0,0.5\r\n",
    "steps,epoch,accuracy\r\n500,inf,0.5\r\n",
    "steps,epoch,accuracy\r\n500,0,0.25\r\n1000,1,0.",
    "steps,epoch,accuracy\r\n500,0,0.25\r\n1000,1\r\n",
    "steps,epoch,accuracy\r\n500,0,0.25,9\r\n",
]


@pytest.mark.parametrize("text", PROGRESS)
def test_damaged_progress_does_not_affect_other_curves(comparison, text):
    bad = comparison / "wpl" / "seed-0" / "progress.csv"
    bad.write_bytes(text.encode())
    told = []
    drawn = redraw(comparison, tell=told.append)
    assert drawn == [comparison / "learning_curves.png"]
    assert len(told) == 1 and f"The progress in {bad} cannot be read" in told[0]


def test_a_run_evaluated_at_other_decisions_is_skipped(comparison):
    write_run(comparison, "wpl", 2, 0.5, [0.25, 0.4, 0.5])
    told, runs = [], [comparison / "wpl" / f"seed-{seed}" for seed in range(3)]
    assert draw_curves(runs, "title", comparison, told.append)
    (message,) = told
    assert str(runs[2]) in message and "other decisions" in message


def arrays(**changes):
    policy = np.full((3, 10, 3, 11), 1 / 11, np.float32)
    return {"decisions": np.arange(3), "samples": np.arange(30).reshape(3, 10), "policy": policy} | changes


POLICIES = [
    arrays(policy=np.full((3, 10, 3, 11), np.nan, np.float32)),
    arrays(policy=np.full((3, 10, 3, 11), 2, np.float32)),
    arrays(policy=np.ones((3, 9, 3, 11), np.float32)),
    arrays(samples=-np.ones((3, 10), np.int64)),
    arrays(decisions=np.array(["a", "b", "c"])),
    arrays(decisions=np.array([0.5, 1, 2])),
    {"decisions": np.arange(3)},
]


@pytest.mark.parametrize("content", POLICIES)
def test_damaged_policies_do_not_affect_other_pictures(sweep, content):
    np.savez(sweep / "wpl" / "seed-0" / "policies.npz", **content)
    outcome = call("figures", sweep)
    assert outcome.exit_code == 0 and f"wrote {sweep}/learning_curves.png" in outcome.output
    assert f"{sweep}/wpl/seed-0/policies.npz cannot be read" in outcome.output
    outcome = call("figures", sweep / "wpl" / "seed-0")
    assert outcome.exit_code == 1 and "policies.npz cannot be read" in outcome.output


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("agent.pt", ("state",), GONE),
        ("agent.pt", ("env",), GONE),
        ("agent.pt", ("arguments",), {"seed": 0, "gama": 1}),
        ("agent.pt", ("env",), [16, "a"]),
        ("environment.pt", ("network",), GONE),
        ("environment.pt", ("network",), 5),
        ("config.json", ("settings", "env_kwargs"), {"seed": 3}),
        ("config.json", ("settings", "env_kwargs"), {"hidden": 32}),
        ("config.json", ("settings", "env_kwargs"), {"hiden": 32}),
        ("config.json", ("settings", "agent"), "wlp"),
        ("config.json", ("settings", "agent"), "lrn"),
        ("config.json", ("settings", "env_id"), "CartPole-v1"),
        ("config.json", ("settings", "env_id"), "NoSuch-v0"),
    ],
)
def test_evaluate_prints_one_line_about_files_that_do_not_fit(sweep, name, keys, value):
    path = sweep / "wpl" / "seed-0" / name
    if name.endswith(".json"):
        change(path, *keys, value=value)
    else:
        state = checkpoint.load(path)
        state = {key: part for key, part in state.items() if key != keys[0]}
        checkpoint.save(state if value is GONE else state | {keys[0]: value}, path)
    outcome = call("evaluate", path.parent)
    assert outcome.exit_code == 1 and outcome.output.startswith("error: ") and outcome.output.count("\n") == 1


def test_compare_reports_one_damaged_run_and_tabulates_the_others(sweep):
    change(sweep / "wpl" / "seed-0" / "result.json", "per_task", value=None)
    options = ("--agents", "wpl,random-fixed", "--seeds", 1, "--steps", 96, "--num-envs", 16, "--quiet")
    outcome = call("compare", DIGITS, *options, "--out", sweep)
    assert outcome.exit_code == 1 and "1 of the runs failed" in outcome.output
    assert "per_task=None is not possible; it takes a mapping" in outcome.output
    assert (sweep / "table.md").read_text().count("random-fixed") == 1
    assert (sweep / "learning_curves.png").is_file()


def test_a_checkpoint_with_code_is_refused_without_advice_to_execute_it(tmp_path):
    torch.save({"state": threading.Thread}, tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=r"agent\.pt .*could run code") as caught:
        checkpoint.load(tmp_path / "agent.pt")
    assert "weights_only" not in str(caught.value)


def test_files_of_a_run_never_import(sweep, monkeypatch, tmp_path):
    (tmp_path / "imported_by_a_run.py").write_text("import gymnasium\ngymnasium.register('Mine-v0', 'nowhere:Nothing')")
    monkeypatch.syspath_prepend(tmp_path)
    config = sweep / "wpl" / "seed-0" / "config.json"
    for name in ("config.json", "result.json"):
        change(config.with_name(name), "settings", "env_id", value="imported_by_a_run:Mine-v0")
    outcome = call("evaluate", config.parent)
    assert outcome.exit_code == 1 and "files never import: import 'imported_by_a_run' yourself" in outcome.output
    call("figures", sweep)
    assert "imported_by_a_run" not in sys.modules


def test_evaluate_needs_a_registered_environment_or_its_module(monkeypatch, tmp_path):
    (tmp_path / "registers_mine.py").write_text(
        "import gymnasium, mtl_gym\n"
        f"entry = gymnasium.spec('{DIGITS}').vector_entry_point\n"
        f"gymnasium.register('Mine-v1', vector_entry_point=entry, kwargs=dict(gymnasium.spec('{DIGITS}').kwargs))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "run" / "config.json"
    options = ("--agent", "random-fixed", "--steps", 16, "--num-envs", 16, "--quiet", "--out", config.parent)
    try:
        outcome = call("train", "registers_mine:Mine-v1", *options)
        assert outcome.exit_code == 0, outcome.output
        gym.registry.pop("Mine-v1")
        sys.modules.pop("registers_mine")
        assert "files never import" in call("evaluate", config.parent).output
        assert f"not '{DIGITS}'" in call("evaluate", config.parent, "--env", DIGITS).output
        outcome = call("evaluate", config.parent, "--env", "registers_mine:Mine-v1")
        assert outcome.exit_code == 0, outcome.output
        assert call("evaluate", config.parent).exit_code == 0  # now it is registered
    finally:
        gym.registry.pop("Mine-v1", None)
        sys.modules.pop("registers_mine", None)


def test_a_report_escapes_formulas_and_html_in_names(tmp_path):
    pytest.importorskip("rliable")
    for name in ("=1+1", "<img src=x>", "random-fixed"):
        write_run(tmp_path / "out", name, 0, 0.5, agent="wpl")
    change(
        tmp_path / "out" / "<img src=x>" / "seed-0" / "config.json",
        "settings",
        "agent_kwargs",
        value={"a": "\n```\n<b>"},
    )
    change(
        tmp_path / "out" / "<img src=x>" / "seed-0" / "result.json",
        "settings",
        "agent_kwargs",
        value={"a": "\n```\n<b>"},
    )
    outcome = call("report", tmp_path / "out", "--quiet")
    assert outcome.exit_code == 0, outcome.output
    with open(tmp_path / "out" / "results.csv") as file:
        assert {line["name"] for line in csv.DictReader(file)} == {"'=1+1", "<img src=x>", "random-fixed"}
    text = (tmp_path / "out" / "report.md").read_text()
    fenced = text[text.index("````yaml") :]
    assert "<img" not in text.replace(fenced, "") and "\n````\n" in fenced
    assert "<img src=x>" not in (tmp_path / "out" / "report.html").read_text()


def test_a_comparison_escapes_formulas_and_html_in_names(tmp_path):
    settings = tmp_path / "settings.yaml"
    agents = "{'=1+1': {agent: random-fixed}, '<b>|x': {agent: shared}}"
    settings.write_text(f"env: {DIGITS}\nsteps: 16\nnum_envs: 16\nseeds: 1\nagents: {agents}\n")
    assert call("compare", "--settings", settings, "--out", tmp_path / "out", "--quiet").exit_code == 0
    with open(tmp_path / "out" / "results.csv") as file:
        assert {line["name"] for line in csv.DictReader(file)} == {"'=1+1", "<b>|x"}
    assert r"| &lt;b&gt;\|x |" in (tmp_path / "out" / "table.md").read_text()


def test_a_finished_read_only_sweep_can_be_read_and_redrawn(sweep, tmp_path):
    options = ("--agents", "wpl,random-fixed", "--seeds", 1, "--steps", 96, "--num-envs", 16, "--quiet")
    with read_only(sweep):
        assert train(RunSettings(DIGITS, "wpl", 96, 0, 16), sweep / "wpl" / "seed-0").accuracy > 0
        outcome = call("compare", DIGITS, *options, "--out", sweep)
        assert outcome.exit_code == 0 and "random-fixed" in outcome.output
        assert f"warning: {sweep} cannot be written" in outcome.output
        assert call("evaluate", sweep / "wpl" / "seed-0").exit_code == 0
        outcome = call("figures", sweep, "--out", tmp_path / "pictures")
        assert outcome.exit_code == 0, outcome.output
        assert (tmp_path / "pictures" / "wpl" / "seed-0" / "policies.png").is_file()


def test_a_report_on_a_read_only_folder_needs_another_folder(comparison, tmp_path):
    pytest.importorskip("rliable")
    with read_only(comparison):
        outcome = call("report", comparison, "--quiet")
        assert outcome.exit_code == 1 and str(comparison) in outcome.output and "--out" in outcome.output
        outcome = call("report", comparison, "--quiet", "--out", tmp_path / "report")
        assert outcome.exit_code == 0, outcome.output
    assert f"wrote {tmp_path}/report/report.html" in outcome.output
    assert "# Report: out" in (tmp_path / "report" / "report.md").read_text()
