"""Sweeps in one process, in several, or on Ray: failures, kills and resumption."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtl_gym.lab import processes
from mtl_gym.lab.compare import plan, plan_entries
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.run import RunSettings
from mtl_gym.lab.sweep import Failure, Sweep, Watcher, folder
from tests.lab.folders import nothing_is_half_written

DIGITS = "MTLRouting-Digits-v0"
SETTINGS = f"""
env: {DIGITS}
steps: 12000
num_envs: 16
seeds: 2
agents:
  wpl:
  ppo:
  dqn: {{agent_kwargs: {{buffer_size: 2000, learning_starts: 100}}, steps: 6000}}
"""
RUNS = {(agent, seed) for agent in ("wpl", "ppo", "dqn") for seed in (0, 1)}
KILLS = 20


def runs_of(agents, seeds=1, steps=320, **changes):
    return plan(RunSettings(DIGITS, "", steps, num_envs=16, **changes), agents, seeds)


class Seen(Watcher):
    """Record of progress and outcomes."""

    def __init__(self):
        self.moves, self.outcomes = [], {}

    def moved(self, run, steps, accuracy):
        self.moves.append((run, steps))

    def ended(self, run, outcome):
        self.outcomes[run] = outcome


def test_a_failed_run_is_reported_and_does_not_affect_the_others(tmp_path):
    runs, seen = runs_of(["wpl", "td3", "random-fixed"]), Seen()
    first, failed, last = carry_out(Sweep(runs, tmp_path), watcher=seen)
    assert isinstance(failed, Failure) and "Box space only" in str(failed)
    assert first.accuracy > 0 and last.accuracy > 0
    told = json.loads((folder(tmp_path, runs[1]) / "error.json").read_text())
    assert told["error"] == failed.error and "Traceback" in "".join(told["traceback"])
    assert [seen.outcomes[run] for run in range(3)] == [first, failed, last]
    assert (0, 320) in seen.moves


def test_an_agent_that_raises_and_a_run_that_diverges_are_failures(tmp_path, monkeypatch):
    from mtl_agents import WPL

    def broken(self, *arguments):
        raise KeyError("no such block")

    monkeypatch.setattr(WPL, "_record", broken)
    kwargs = {"learning_rate": 1e30}
    runs = [*runs_of(["wpl", "random-fixed"]), *plan_entries([RunSettings(DIGITS, "shared", 320, 0, 16, kwargs)], 1)]
    raised, fine, diverged = carry_out(Sweep(runs, tmp_path))
    assert raised.error == "KeyError: 'no such block'"
    assert fine.accuracy > 0
    assert isinstance(diverged, Failure) and "is not finite" in diverged.error


def test_a_damaged_result_is_a_failure_and_not_overwritten(tmp_path):
    runs = runs_of(["random-fixed", "shared"])
    carry_out(Sweep(runs, tmp_path))
    damaged = folder(tmp_path, runs[0]) / "result.json"
    damaged.write_text('{"accuracy": ')
    first, second = carry_out(Sweep(runs, tmp_path))
    assert "result.json cannot be read" in first.error and "remove it" in first.error
    assert second.accuracy > 0 and damaged.read_text() == '{"accuracy": '
    damaged.unlink()
    assert carry_out(Sweep(runs, tmp_path))[0].accuracy > 0


def test_a_plan_with_other_settings_changes_nothing(tmp_path):
    """A typing error in the steps spares the tables of a finished comparison and trains nothing."""
    carry_out(Sweep(runs_of(["random-fixed", "shared"]), tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=r"steps=320, not steps=640.*2 of the 3 folders.*nothing was changed"):
        carry_out(Sweep(runs_of(["task-specific-all", "random-fixed", "shared"], steps=640), tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_unknown_names_are_refused_before_a_sweep_starts():
    with pytest.raises(ValueError, match="no agent 'wlp'"):
        runs_of(["random-fixed", "wlp"])
    with pytest.raises(Exception, match="MTLRouting-Digit` doesn't exist"):
        plan(RunSettings("MTLRouting-Digit-v0", "", 10), ["wpl"], 1)
    with pytest.raises(ValueError, match="give one of them"):
        carry_out(Sweep([], Path("x")), jobs=2, ray="local")


@pytest.mark.slow
def test_several_processes_and_one_process_have_equal_results(tmp_path):
    runs, seen = runs_of(["wpl", "ppo", "td3"], seeds=2, steps=3200), Seen()
    several = carry_out(Sweep(runs, tmp_path / "several"), jobs=2, watcher=seen)
    one = carry_out(Sweep(runs, tmp_path / "one"))
    for here, there in zip(one, several, strict=True):
        assert type(here) is type(there)
        assert isinstance(here, Failure) or (here.per_task, here.loss) == (there.per_task, there.loss)
    assert seen.outcomes == dict(enumerate(several))


@pytest.mark.slow
def test_only_a_run_whose_process_always_dies_is_given_up(tmp_path, monkeypatch):
    runs = runs_of(["random-fixed", "shared", "wpl"])
    monkeypatch.setattr(processes, "_work", die_in_the_second)
    fine, dead, other = carry_out(Sweep(runs, tmp_path), jobs=2)
    assert isinstance(dead, Failure) and "died 3 times" in dead.error
    # A run that was under way at every death fails too; rerunning the sweep carries it out.
    assert {type(fine), type(other)} <= {Failure, type(carry_out(Sweep(runs, tmp_path))[1])}


work = processes._work


def die_in_the_second(unit):
    if 1 in unit:
        processes._board.runs[unit] = processes.UNDER_WAY, 0, 0
        os.kill(os.getpid(), signal.SIGKILL)
    return work(unit)


def command(settings, out, *more):
    # A background process of a shell ignores interrupts by default.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}; import sys; from mtl_gym.lab.cli import app; app(sys.argv[1:])"
    return [
        *(sys.executable, "-W", "ignore", "-c", program),
        *("compare", "--settings", str(settings), "--out", str(out), "--quiet", *more),
    ]


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "sweep.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture(scope="module")
def undisturbed(settings_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(settings_file, out, "--jobs", "2"), check=True, capture_output=True)
    return figures(out)


def figures(out):
    """Return the results by run, without the speed of the machine."""
    with open(out / "results.csv") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        del line["samples_per_second"]
    assert len(lines) == len(RUNS)
    return {(line["name"], int(line["seed"])): line for line in lines}


@pytest.mark.slow
def test_a_sweep_killed_twenty_times_ends_as_an_uninterrupted_one(settings_file, undisturbed, tmp_path):
    moments = random.Random(0)
    for _ in range(KILLS):
        sweep = subprocess.Popen(command(settings_file, tmp_path, "--jobs", "2"), stdout=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.5, 9))
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
        nothing_is_half_written(tmp_path)
    subprocess.run(command(settings_file, tmp_path, "--jobs", "2"), check=True, capture_output=True)
    assert figures(tmp_path) == undisturbed
    assert {(path.parent.parent.name, int(path.parent.name[5:])) for path in tmp_path.rglob("result.json")} == RUNS
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".") or path.name == "checkpoint.pt"]
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_sweep_prints_a_message_and_exits_with_130(settings_file, tmp_path, jobs):
    steps = ("--steps", "1000000", "--jobs", jobs)
    arguments = command(settings_file, tmp_path, *steps)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as sweep:
        while sweep.poll() is None and not list(tmp_path.rglob("checkpoint.pt")):
            time.sleep(0.5)
        os.killpg(sweep.pid, signal.SIGINT)
        try:
            told = sweep.communicate(timeout=60)[1]
        finally:
            sweep.kill()
    assert told.startswith("interrupted:") and sweep.returncode == 130
    nothing_is_half_written(tmp_path)


def workers_of(program, psutil):
    """Return the descendants of a program in which Ray carries out a run, without processes that have ended."""
    try:
        below = psutil.Process(program).children(recursive=True)
    except psutil.Error:
        return []
    return [process for process in below if "ray::_work" in " ".join(words_of(process, psutil))]


def words_of(process, psutil):
    """Return the command line of a process, empty for zombies and ended processes."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill(process, psutil):
    """Kill a process; return whether it existed."""
    try:
        process.kill()
    except psutil.Error:
        return False
    return True


def test_ended_processes_are_not_listed():
    psutil = pytest.importorskip("psutil")
    program = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'pass']); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        until = time.monotonic() + 20
        while not (zombies := psutil.Process(parent.pid).children()) or zombies[0].status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert words_of(zombies[0], psutil) == [] and workers_of(parent.pid, psutil) == []
        parent.kill()
        parent.wait()
    assert workers_of(parent.pid, psutil) == []


@pytest.mark.slow
def test_killed_ray_workers_do_not_change_the_results(settings_file, undisturbed, tmp_path):
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("ray")
    sweep = subprocess.Popen(command(settings_file, tmp_path, "--ray", "local"), stdout=subprocess.DEVNULL)
    killed = 0
    while sweep.poll() is None and killed < 2:
        time.sleep(1)
        workers = workers_of(sweep.pid, psutil) if list(tmp_path.rglob("checkpoint.pt")) else []
        killed += any(kill(worker, psutil) for worker in workers)
    assert sweep.wait() == 0 and killed == 2
    assert figures(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_full_disk_is_a_failure_and_written_files_stay_intact(tmp_path):
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only the superuser can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounts are not permitted")
    try:
        runs = runs_of(["random-fixed", "shared", "wpl"], seeds=3)
        outcomes = carry_out(Sweep(runs, tmp_path / "out"))
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        assert failures and all("No space left on device" in failure.error for failure in failures)
        nothing_is_half_written(tmp_path / "out")
        assert not list(tmp_path.rglob("*.unfinished"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_unwritable_folder_of_a_run_is_a_failure(tmp_path):
    runs = runs_of(["shared"])
    place = folder(tmp_path, runs[0])
    place.parent.mkdir(parents=True)
    place.write_text("a file")
    (outcome,) = carry_out(Sweep(runs, tmp_path))
    assert isinstance(outcome, Failure) and str(place) in outcome.error


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_runs_are_not_begun_in_a_file(tmp_path, below):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=r"out=.* is not possible: .*file is a file; choose a folder"):
        Sweep([], file / below)
