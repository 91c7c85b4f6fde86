"""The ways into the command line."""

import os
import subprocess
import sys

from typer.testing import CliRunner

import mtl_gym
from mtl_gym.lab import __main__, cli


def test_the_version_is_that_of_the_package():
    outcome = CliRunner().invoke(cli.app, ["--version"])
    assert outcome.exit_code == 0 and outcome.output == f"mtl-gym {mtl_gym.__version__}\n"


def test_the_package_is_a_command():
    ran = subprocess.run([sys.executable, "-m", "mtl_gym", "--version"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, f"mtl-gym {mtl_gym.__version__}\n")


def test_runs_have_one_thread_unless_the_user_sets_a_number(monkeypatch):
    monkeypatch.setattr(cli, "program", lambda: None)
    for given, used in ((None, "1"), ("3", "3")):
        monkeypatch.setenv("OMP_NUM_THREADS", given or "")
        if given is None:
            monkeypatch.delenv("OMP_NUM_THREADS")
        __main__.main()
        assert os.environ["OMP_NUM_THREADS"] == used


def test_shells_can_complete_commands():
    outcome = CliRunner().invoke(cli.app, ["--help"])
    assert "--install-completion" in outcome.output


def test_shells_can_complete_ids():
    typed = {"COMP_WORDS": "mtl-gym compare MTLRouting-P", "COMP_CWORD": "2", "_MTL_GYM_COMPLETE": "complete_bash"}
    outcome = CliRunner().invoke(cli.app, [], prog_name="mtl-gym", env=typed)
    assert outcome.output.split() == ["MTLRouting-Paths-v0"]
