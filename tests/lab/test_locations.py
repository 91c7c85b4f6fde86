"""Data sets and networks as `module:function`, from a settings file to a finished run."""

import sys

import pytest
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab import cli
from mtl_gym.lab.records import RunSettings
from mtl_gym.lab.run import restore

MODULE = """
import numpy as np
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing.blocks import simple_routed_network

number = 3

def make():
    rng = np.random.default_rng(0)
    def task():
        return rng.normal(size=(60, 5)).astype(np.float32), rng.integers(2, size=60)
    return MultiTaskDataset.from_tasks("own", {"left": task(), "right": task()})

def network(context):
    return simple_routed_network((5,), 2, 2, depth=2, hidden=3)
"""
SETTINGS = """
env: MTLRouting-Digits-v0
steps: 64
num_envs: 4
seeds: 1
env_kwargs: {data: "own_things:make", network: "own_things:network"}
agents: {wpl: , random-fixed: }
"""


@pytest.fixture
def own_things(tmp_path, monkeypatch):
    (tmp_path / "own_things.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_things", None)


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_a_settings_file_accepts_functions_for_data_set_and_network(own_things, tmp_path):
    (tmp_path / "own.yaml").write_text(SETTINGS)
    out = call("compare", "--settings", tmp_path / "own.yaml", "--out", tmp_path / "runs", "--quiet")
    assert out.exit_code == 0, out.output
    run = tmp_path / "runs" / "wpl" / "seed-0"
    sys.modules.pop("own_things")
    with pytest.raises(CheckpointError, match="never import: name the module yourself, with --module own_things"):
        restore(run)
    assert "own_things" not in sys.modules
    restore(run, module="own_things")
    with pytest.raises(CheckpointError, match="files never import"):  # even though it is imported now
        restore(run)
    out = call("evaluate", run, "--module", "own_things")
    assert out.exit_code == 0 and "left" in out.output and "right" in out.output, out.output
    for name in (".own_things", "nowhere", ""):
        out = call("evaluate", run, "--module", name)
        assert out.exit_code == 1 and f"--module: there is no module {name!r}" in out.output, out.output


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("nowhere.data:make", "there is no module 'nowhere'"),
        ("own_things:mak", "has no function 'mak'. Did you mean 'make'?"),
        ("own_things:number", "has no function 'number'"),
    ],
)
def test_an_invalid_location_is_refused_before_the_run(own_things, location, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        RunSettings("MTLRouting-Digits-v0", "wpl", 10, env_kwargs={"data": location}).check()
