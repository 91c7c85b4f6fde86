"""Literal names and paths in the output of the command line."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mtl_gym.core.measure import ACCURACY
from mtl_gym.lab import cli
from mtl_gym.lab.cli.tables import table_of
from mtl_gym.lab.compare import Row
from mtl_gym.lab.progress import Bar
from mtl_gym.lab.run import RunSettings, train
from mtl_gym.lab.statistics import Estimate

DIGITS = "MTLRouting-Digits-v0"
NAMES = ("wpl[lr=0.1]", "wpl[lr=0.01]", "o [/b] y", "[red]x", ":smile:")


def call(*arguments):
    outcome = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exc_info
    return outcome


def test_names_are_printed_in_full_in_tables_and_messages(tmp_path):
    settings = tmp_path / "settings.yaml"
    # A name is a folder name, so it has no slash.
    names = [name for name in NAMES if "/" not in name] + ["a-name-that-is-longer-than-most-" * 3]
    agents = "".join(f"  '{name}': {{agent: random-fixed}}\n" for name in names)
    settings.write_text(f"env: {DIGITS}\nsteps: 16\nnum_envs: 16\nseeds: 1\nagents:\n{agents}")
    outcome = call("compare", "--settings", settings, "--out", tmp_path / "o [b] y", "--quiet", "--control", NAMES[0])
    assert outcome.exit_code == 0, outcome.output
    for name in names[:-1]:
        assert f" {name} " in outcome.output
        assert f"  {name} " in outcome.output[outcome.output.index("minus that of") :] or name == NAMES[0]
    assert f"minus that of {NAMES[0]}" in outcome.output
    assert outcome.output.replace("\n", "").count("longer-than-most-a-name") >= 2


def test_figures_and_scores_stand_on_one_line_in_a_narrow_terminal():
    row = Row("wpl", ACCURACY, 3, 61.5, 1.25, Estimate(0.5, 0.25, 1.0), 60.0, ("one", 1.0), ("two", 2.0), 3, 1.5, 900)
    screen = io.StringIO()
    Console(file=screen, width=80).print(table_of([row, row], DIGITS))
    assert screen.getvalue().count("0.50 [0.25, 1.00]") == screen.getvalue().count("61.50 ± 1.25") == 2


def test_a_path_like_markup_is_printed_literally(tmp_path):
    out = tmp_path / "o [/b] y"
    outcome = call("train", DIGITS, "--agent", "random-fixed", "--steps", 16, "--num-envs", 16, "--out", out, "--quiet")
    assert outcome.exit_code == 0, outcome.output
    assert f"wrote {out}\n" in outcome.output
    outcome = call("evaluate", tmp_path / "[/b]")
    assert outcome.exit_code == 1 and f"There is no run in {tmp_path}/[/b]" in outcome.output


@pytest.mark.parametrize("name", NAMES)
def test_the_bar_prints_names_literally(name):
    screen = io.StringIO()
    run = RunSettings(DIGITS, "wpl", 100, name=name)
    with Bar([run], Console(file=screen, force_terminal=True, width=120), False) as bar:
        bar.moved(0, 50, float("nan"))
        bar._progress.refresh()
    assert f"0/1 runs, {name} seed 0" in screen.getvalue()


def test_a_name_like_a_formula_is_drawn_literally(tmp_path):
    name = "$no^{formula$"
    run = RunSettings(DIGITS, "wpl", 96, 0, 16, name=name)
    train(run, tmp_path)
    assert (tmp_path / "policies.png").is_file() and (tmp_path / "result.json").is_file()
