"""One good small run, made once by the command line, and one that was interrupted."""

import shutil

import pytest
from typer.testing import CliRunner

from mtl_gym.core.state import checkpoint
from mtl_gym.lab import cli, resume
from mtl_gym.lab.run import CHECKPOINT, RunSettings, train

DIGITS = "MTLRouting-Digits-v0"
SETTINGS = RunSettings(DIGITS, "wpl", 8, 0, 2, {"hidden": 2, "depth": 2, "train_batch": 2})


class InterruptedRunError(Exception):
    """Stands for whatever ends a run in the middle."""


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """A finished run in a comparison of one."""
    out = tmp_path_factory.mktemp("good") / "wpl" / "seed-0"
    kwargs = '{"hidden": 2, "depth": 2, "train_batch": 2}'
    options = ("--agent", "wpl", "--steps", "8", "--num-envs", "2", "--env-kwargs", kwargs, "--quiet")
    told = CliRunner().invoke(cli.app, ["train", DIGITS, *options, "--out", str(out)])
    assert told.exit_code == 0, told.output
    return out


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """A run that was interrupted after half of its decisions."""
    out = tmp_path_factory.mktemp("begun")

    def interrupt(steps, accuracy):
        if steps > SETTINGS.steps // 2:
            raise InterruptedRunError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "LEAST_APART", 0.0)
        patch.setattr(resume, "COSTS_APART", 0)
        with pytest.raises(InterruptedRunError):
            train(SETTINGS, out, interrupt)
    assert checkpoint.load(out / CHECKPOINT)["decisions"]
    return out


@pytest.fixture
def run(good, tmp_path):
    """A copy of the finished run, to be damaged."""
    return shutil.copytree(good, tmp_path / "out" / "wpl" / "seed-0")


@pytest.fixture
def half(begun, tmp_path):
    """A copy of the interrupted run, to be damaged."""
    return shutil.copytree(begun, tmp_path / "half")
