"""Locks that admit one process at a time to the folder of a run."""

import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.run import RunSettings, train
from mtl_gym.lab.sweep import Failure, Sweep

DIGITS = "MTLRouting-Digits-v0"
HOLD = """
import sys, time
from pathlib import Path
from mtl_gym.lab.locks import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    if find_spec("mtl_gym.lab.locks"):
        monkeypatch.setattr("mtl_gym.lab.locks.PATIENCE", 0.0)


@pytest.fixture
def hold():
    """Return a function that starts a process which holds the lock on a folder."""
    begun = []

    def begin(folder):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def run(agent="wpl"):
    return RunSettings(DIGITS, agent, 96, 0, 16)


def test_a_second_process_in_the_folder_of_a_run_is_refused_and_deletes_nothing(tmp_path, hold):
    process = hold(tmp_path / "run")
    half = tmp_path / "run" / ".result.json.x.unfinished"
    half.write_text("half")
    with pytest.raises(OSError, match=r"Another process .*run: wait"):
        train(run(), tmp_path / "run")
    assert half.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The killed process leaves no obstacle.
    assert train(run(), tmp_path / "run").accuracy > 0
    assert not half.exists() and not (tmp_path / "run" / ".lock").exists()


def test_a_run_cannot_be_carried_out_twice_concurrently(tmp_path):
    told = []

    def again(steps, accuracy):
        if not told:
            with pytest.raises(OSError, match="Another process"):
                train(run(), tmp_path)
            told.append(steps)

    assert train(run(), tmp_path, again).accuracy > 0
    assert told


def test_a_locked_run_does_not_stop_the_others_of_a_sweep(tmp_path, hold):
    hold(tmp_path / "wpl" / "seed-0")
    locked, fine = carry_out(Sweep([run(), run("random-fixed")], tmp_path))
    assert isinstance(locked, Failure) and "Another process" in str(locked)
    assert fine.accuracy > 0
    assert not (tmp_path / "wpl" / "seed-0" / "error.json").exists()


def test_a_finished_run_is_read_while_another_process_holds_its_folder(tmp_path, hold):
    first = train(run(), tmp_path)
    hold(tmp_path)
    assert train(run(), tmp_path) == first


def test_a_folder_name_with_a_nul_character_is_refused(tmp_path):
    with pytest.raises(ValueError, match="NUL character"):
        train(run("random-fixed"), tmp_path / "a\0b")
