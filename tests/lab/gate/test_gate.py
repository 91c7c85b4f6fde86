"""The command `mtl-gym gate` on a short benchmark: runs, tables, files, and resumption."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import mtl_gym
from mtl_gym import registration
from mtl_gym.lab import cli
from mtl_gym.lab.gate import plan
from mtl_gym.lab.gate.plan import Trial, benchmarks, trial, with_data
from mtl_gym.lab.references import UNTRAINED
from mtl_gym.lab.sweep import Failure
from mtl_gym.registration import Dial

PATHS, DIGITS = "MTLRouting-Paths-v0", "MTLRouting-Digits-v0"


@pytest.fixture
def short(monkeypatch):
    """Make the gate of one id short: two learners, 96 decisions."""
    card = replace(mtl_gym.card(PATHS), steps=96, num_envs=8, learners=("wpl",), controls=("shared",))
    monkeypatch.setitem(registration._cards, PATHS, card)
    monkeypatch.setattr(plan, "STOCK", ("ppo", "a2c"))
    return card


def gate(*arguments):
    return CliRunner().invoke(cli.app, ["gate", *map(str, arguments), "--quiet"])


def test_all_runs_are_made_once_and_judged(short, tmp_path):
    figures = tmp_path / "measured.json"
    figures.write_text(json.dumps({"Other-v0": {"oracle": {}}, PATHS: {"old": {}}}))
    outcome = gate(PATHS, "--out", tmp_path, "--seeds", 2, "--write", figures)
    assert outcome.exit_code == 0, outcome.output
    made = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.glob("*/*/seed-*/result.json")}
    agents = {"oracle", "shared", "random", "wpl", "ppo", "a2c", "ppo-untrained"}
    assert made == {(PATHS, name) for name in agents} | {(f"{PATHS}-x4", name) for name in ("oracle", "shared")}
    longer = json.loads((tmp_path / f"{PATHS}-x4" / "oracle" / "seed-1" / "config.json").read_text())["settings"]
    assert longer["steps"] == 4 * 96
    written = json.loads((tmp_path / "gate.json").read_text())["ids"][PATHS]
    assert written["agents"]["oracle"]["figure"] == 100 and len(written["lines"]) == 5
    assert f"## {PATHS}" in (tmp_path / "gate.md").read_text() and "Tiers of stock algorithms:" in outcome.output
    known = json.loads(figures.read_text())
    assert set(known) == {"Other-v0", PATHS} and set(known[PATHS]) == agents
    assert known[PATHS]["oracle"] == {"mean": 100.0, "spread": 0.0, "seeds": 2, "steps": 96}
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/*/result.json")}
    assert gate(PATHS, "--out", tmp_path, "--seeds", 2).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/*/result.json")} == times


def test_runs_of_the_gate_keep_no_curves_events_or_pictures(short, tmp_path):
    gate(PATHS, "--out", tmp_path, "--seeds", 1)
    files = {path.name for path in (tmp_path / PATHS / "ppo" / "seed-0").iterdir()}
    assert files == {"config.json", "result.json", "agent.pt", "environment.pt"}


def test_a_failed_run_is_reported_and_its_id_is_not_written(short, tmp_path, monkeypatch):
    from mtl_gym.lab.sweep import Sweep

    attempt = Sweep.attempt

    def fail(self, unit, tell):
        settings = [self.runs[run] for run in unit]
        failed = settings[0].agent == "wpl"
        return [Failure(one, "No memory.") for one in settings] if failed else attempt(self, unit, tell)

    monkeypatch.setattr(Sweep, "attempt", fail)
    figures = tmp_path / "measured.json"
    outcome = gate(PATHS, "--out", tmp_path, "--seeds", 2, "--write", figures)
    assert outcome.exit_code == 1 and "wpl, seed 1: No memory." in outcome.output
    assert json.loads(figures.read_text()) == {}
    assert "No memory." in (tmp_path / "gate.md").read_text()


def test_a_plan_has_the_stock_algorithms_that_fit():
    card = mtl_gym.card(PATHS)
    found = trial(PATHS, 3)
    assert found.stock == list(plan.STOCK) and found.learners == [*card.learners, *plan.STOCK]
    assert {run.seed for run in found.runs} == {0, 1, 2}
    assert {run.steps for run in found.runs} == {card.steps}
    untrained = next(run for run in found.runs if run.name == UNTRAINED)
    assert (untrained.agent, untrained.agent_kwargs) == ("ppo", {"learning_rate": 0.0})


def test_a_card_may_name_other_lengths(monkeypatch):
    card = replace(mtl_gym.card(PATHS), lengths=({"depth": 2}, {"depth": 4}), dials={"depth": Dial("more")})
    monkeypatch.setitem(registration._cards, PATHS, card)
    found = trial(PATHS, 1)
    assert {name: runs[0].env_kwargs for name, runs in found.lengths.items()} == {
        "depth-2": {"depth": 2},
        "depth-4": {"depth": 4},
    }
    assert {run.steps for runs in found.lengths.values() for run in runs} == {card.steps}
    assert {run.agent for run in found.lengths["depth-2"]} == {"oracle", *card.controls}


def test_replications_and_single_seeds_are_refused(tmp_path):
    assert PATHS in benchmarks() and DIGITS not in benchmarks()
    outcome = gate(DIGITS, "--out", tmp_path)
    assert outcome.exit_code == 1 and "is no benchmark" in outcome.output and PATHS in outcome.output
    outcome = gate(PATHS, "--out", tmp_path, "--seeds", 1, "--write", tmp_path / "measured.json")
    assert outcome.exit_code == 1 and "--seeds 2 or more" in outcome.output


def test_the_folder_of_an_id_is_a_valid_name():
    assert Trial("module:space/Name-v0", mtl_gym.card(PATHS), []).folder == "space-Name-v0"


def test_list_shows_benchmarks_with_their_figures_and_replications_apart(monkeypatch):
    measured = {name: registration.Measured(mean, 0.0, 5, 1) for name, mean in {"shared": 50.5, "wpl": 81.25}.items()}
    monkeypatch.setitem(registration._cards, PATHS, replace(mtl_gym.card(PATHS), measured=measured))
    printed = CliRunner().invoke(cli.app, ["list"]).output
    line = next(line for line in printed.splitlines() if PATHS in line)
    assert [cell.strip() for cell in line.split("│")[1:6]] == [PATHS, "100 %", "50.5 shared", "81.25 wpl", "5"]
    assert "4.365 bits" in printed
    assert printed.index(PATHS) < printed.index("Replications") < printed.index(DIGITS)


def test_a_benchmark_whose_data_is_missing_is_left_out_with_a_warning(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path))
    assert with_data([PATHS, "MTLRouting-GroupedCIFAR-v0"]) == [PATHS]
    assert "MTLRouting-GroupedCIFAR-v0 is left out: get its data with `mtl-gym data get cifar`" in caplog.text
