"""Measure what a sweep of many runs costs beside the runs: time per run, memory of the driver, a lost worker or node.

The runs are stubs, which write a result and train nothing. Every line is measured in a driver process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from measuring import begin, parser, resident_mebibytes, table

from mtl_gym.core.measure import ACCURACY
from mtl_gym.core.state import checkpoint
from mtl_gym.lab import cluster, processes, resume
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.files import RESULT
from mtl_gym.lab.records import BARE, EVERYTHING, Extras, RunResult, RunSettings
from mtl_gym.lab.sweep import Failure, Outcome, Sweep, Watcher
from mtl_gym.lab.together import Tell

ENV_ID, AGENT, TASKS = "MTLRouting-Digits-v0", "random-fixed", 10
ATTEMPTS = "attempts.txt"
ONE, JOBS, RAY, NODES = "one process", "two jobs", "Ray, two CPUs", "Ray, two nodes"
WAYS = (ONE, JOBS, RAY)
KILLED = {JOBS: "one of two jobs", RAY: "one of two Ray workers", NODES: "one of two Ray nodes"}


@dataclass(frozen=True)
class Stubs(Sweep):
    """Runs that take some seconds and write a result; each attempt adds a line to a file in the folder of its run.

    Attributes:
        seconds: Duration of a run.
    """

    seconds: float = 0.0

    def units(self, runs: Sequence[int], jobs: int = 1) -> list[list[int]]:
        """Carry out every run alone."""
        return [[run] for run in runs]

    def attempt(self, unit: Sequence[int], tell: Tell) -> list[Outcome]:
        """Write the result of the only run of a unit."""
        (run,) = unit
        settings, place, start = self.runs[run], self.folder(run), time.time()
        place.mkdir(parents=True, exist_ok=True)
        with (place / ATTEMPTS).open("a") as file:
            file.write(f"{os.getpid()} {start} {resident_mebibytes()}\n")
        time.sleep(self.seconds)
        tell(run, settings.steps, 0.5)
        result = result_of(settings)
        text = json.dumps(asdict(result)).encode()
        checkpoint.write_atomically(place / RESULT, lambda file: file.write(text))
        return [result]

    def attempts(self, run: int) -> list[list[float]]:
        """Return process, start and memory in MiB of each attempt at a run."""
        file = self.folder(run) / ATTEMPTS
        return [[float(word) for word in line.split()] for line in file.read_text().splitlines()]


def result_of(settings: RunSettings) -> RunResult:
    """Return a result as large as a real one."""
    per_task = {f"task {task}": 0.5 for task in range(TASKS)}
    return RunResult(settings, 0.5, per_task, 0.7, 3, 10.0, 1e4, {}, 50.0, ACCURACY, 50.0, 1.0, 1.0)


def stubs(runs: int, out: str, seconds: float = 0.0) -> Stubs:
    """Return a sweep of so many runs."""
    return Stubs([RunSettings(ENV_ID, AGENT, 1000, seed) for seed in range(runs)], Path(out), seconds=seconds)


def way_of(way: str, stack: ExitStack) -> tuple[dict[str, Any], Callable[[float], None]]:
    """Return the arguments of `carry_out`, and a function that kills what the process number belongs to."""
    if way != NODES:
        return {ONE: {}, JOBS: {"jobs": 2}, RAY: {"ray": "local"}}[way], lambda pid: os.kill(int(pid), signal.SIGKILL)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    stack.callback(made.shutdown)
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    made.wait_for_nodes()
    return {"ray": made.address}, lambda pid: made.remove_node(nodes[1], allow_graceful=False)


@dataclass(frozen=True)
class Cost:
    """Cost of a sweep.

    Attributes:
        seconds: Duration, with the start of processes.
        driver: Processor seconds of the driver.
        growth: Growth of the driver's memory in MiB.
        again: Seconds of the same sweep again, in one process, which reads the results.
        worker: Memory of a process of the runs in MiB.
    """

    seconds: float
    driver: float
    growth: float
    again: float
    worker: float


def cost(way: str, runs: int) -> Cost:
    """Return what a sweep of so many runs cost.

    Raises:
        RuntimeError: If a run failed.
    """
    with tempfile.TemporaryDirectory() as out, ExitStack() as stack:
        sweep, (how, _) = stubs(runs, out), way_of(way, stack)
        memory, driver, start = resident_mebibytes(), time.process_time(), time.perf_counter()
        outcomes = carry_out(sweep, **how)
        taken = time.perf_counter() - start, time.process_time() - driver, resident_mebibytes() - memory
        _refuse_failures(outcomes)
        start = time.perf_counter()
        _refuse_failures(carry_out(Sweep(sweep.runs, sweep.out)))
        return Cost(*taken, time.perf_counter() - start, sweep.attempts(runs - 1)[0][2])


def _refuse_failures(outcomes: list[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if failed:
        raise RuntimeError(f"{len(failed)} runs failed, the first because {failed[0]}")


@dataclass(frozen=True)
class Loss:
    """Cost of the death of a worker or node.

    Attributes:
        under_way: Runs under way at the time of the kill.
        repeated: Runs that began a second time.
        failed: Runs without a result in the end.
        again_after: Seconds from the kill to the next beginning of a run that it had stopped.
        idle: Seconds from the kill until the next beginning of any run.
        lost: Seconds of work that were done twice.
    """

    under_way: int
    repeated: int
    failed: int
    again_after: float
    idle: float
    lost: float


class Killer(Watcher):
    """Kills the process of a run that is under way when a third of the runs have ended.

    Args:
        sweep: The runs.
        kill: Kills what a process number belongs to.

    Attributes:
        at: Time of the kill.
        under_way: Runs under way then.
    """

    def __init__(self, sweep: Stubs, kill: Callable[[float], None]) -> None:
        self.sweep, self.kill, self.left = sweep, kill, max(1, len(sweep.runs) // 3)
        self.at, self.under_way = 0.0, list[int]()

    def ended(self, run: int, outcome: Outcome) -> None:
        """Count the run, and kill once."""
        self.left -= 1
        if not self.left:
            time.sleep(self.sweep.seconds / 2)
            self.under_way = [one for one in range(len(self.sweep.runs)) if self._goes_on(one)]
            self.at = time.time()
            self.kill(self.sweep.attempts(self.under_way[-1])[-1][0])

    def _goes_on(self, run: int) -> bool:
        place = self.sweep.folder(run)
        return (place / ATTEMPTS).exists() and not (place / RESULT).exists()


def loss(way: str, runs: int, seconds: float) -> Loss:
    """Return what it cost to kill a worker or a node during a sweep."""
    with tempfile.TemporaryDirectory() as out, ExitStack() as stack:
        sweep, (how, kill) = stubs(runs, out, seconds), way_of(way, stack)
        killer = Killer(sweep, kill)
        outcomes = carry_out(sweep, **how, watcher=killer)
        begun = [[start for _, start, _ in sweep.attempts(run)] for run in range(runs)]
    repeated = [starts for starts in begun if len(starts) > 1]
    later = [start for starts in begun for start in starts if start > killer.at]
    return Loss(
        under_way=len(killer.under_way),
        repeated=len(repeated),
        failed=sum(isinstance(outcome, Failure) for outcome in outcomes),
        again_after=min((starts[1] - killer.at for starts in repeated), default=float("nan")),
        idle=min(later, default=float("nan")) - killer.at,
        lost=sum(killer.at - starts[0] for starts in repeated),
    )


def files(extras: Extras) -> tuple[int, float]:
    """Return how many files a real run of 1,000 decisions leaves, and how many KiB."""
    with tempfile.TemporaryDirectory() as out:
        _refuse_failures(carry_out(Sweep(stubs(1, out).runs, Path(out), extras=extras)))
        left = [path.stat().st_size for path in Path(out).rglob("*") if path.is_file()]
    return len(left), sum(left) / 2**10


def apart(kind: str, *arguments: object) -> dict[str, float]:
    """Call `cost` or `loss` in a process of its own; return the fields of the result."""
    command = [sys.executable, __file__, "--one", kind, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{kind} of {arguments} failed: {run.stderr}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def print_one(kind: str, way: str, runs: str, *more: str) -> None:
    """Print the result of `cost` or `loss` as JSON."""
    print(json.dumps(asdict({"cost": cost, "loss": loss}[kind](way, int(runs), *map(float, more)))))


def print_costs(arguments: argparse.Namespace) -> None:
    """Print table 1: what a run costs by way and number of runs."""
    rows = []
    for way in arguments.ways:
        for runs in arguments.runs:
            found = [apart("cost", way, runs) for _ in range(arguments.rounds)]
            one = Cost(**{field.name: float(np.median([own[field.name] for own in found])) for field in fields(Cost)})
            each = [1e3 * seconds / runs for seconds in (one.seconds, one.driver, one.again)]
            rows.append([way, f"{runs:,}", one.seconds, *each, one.growth, 1024 * one.growth / runs, one.worker])
    head = ["way", "runs", "seconds", "ms per run", "driver, CPU ms per run", "again, ms per run"]
    print("### Stubs that take no time\n")
    print(table([*head, "driver grows by MiB", "KiB per run", "a process of the runs, MiB"], rows), flush=True)


def print_losses(arguments: argparse.Namespace) -> None:
    """Print table 2: what a lost worker or node costs."""
    rows = []
    for way in arguments.lost:
        found = Loss(**apart("loss", way, arguments.lost_runs, arguments.lost_seconds))
        rows.append([KILLED[way], arguments.lost_runs, *vars(found).values()])
    head = ["killed", "runs", "under way", "repeated", "failed", "begins again after s", "nothing begins for s"]
    print(f"\n### A worker or node is killed, stubs of {arguments.lost_seconds:g} s\n")
    print(table([*head, "done twice, s"], rows))
    print(
        f"\nA real run repeats what it did since its last checkpoint: at most {resume.LEAST_APART:g} s, or "
        f"{resume.COSTS_APART} times as long as a checkpoint takes. A run fails after {processes.TRIES} deaths of its "
        f"process with jobs, after {cluster.RETRIES} retries with Ray.",
        flush=True,
    )


def print_files() -> None:
    """Print table 3: what a real run leaves on the disk."""
    rows = [[name, *files(extras)] for name, extras in {"everything": EVERYTHING, "bare": BARE}.items()]
    print(f"\n### What a run of {AGENT} on {ENV_ID} leaves\n")
    print(table(["extras", "files", "KiB"], rows))


def main(arguments: argparse.Namespace) -> None:
    """Print all tables."""
    begin("Sweeps of many runs", arguments)
    print_costs(arguments)
    if arguments.lost:
        print_losses(arguments)
    print_files()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print_one(*sys.argv[2:])
        sys.exit()
    made = parser(__doc__, rounds=1, seconds=0.0)
    made.add_argument("--runs", type=int, nargs="+", default=[100, 300], help="numbers of runs")
    made.add_argument("--ways", nargs="+", choices=WAYS, default=[ONE, JOBS], help="what carries out the runs")
    made.add_argument("--lost", nargs="*", choices=list(KILLED), default=[JOBS], help="where something is killed")
    made.add_argument("--lost-runs", type=int, default=12, help="runs of a sweep in which something is killed")
    made.add_argument("--lost-seconds", type=float, default=1.0, help="duration of one of these")
    main(made.parse_args())
