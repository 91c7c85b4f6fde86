"""Measure the duration of a sweep with several processes relative to one.

The runs are `random-fixed`, `wpl` and `q-table` on digits with two seeds each. With more than one job the time includes
the start of the processes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import Timing, begin, now, parser, percent, table

from mtl_gym.lab.compare import plan
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.run import RunSettings
from mtl_gym.lab.sweep import Failure, Sweep

AGENTS = ("random-fixed", "wpl", "q-table")
SEEDS = 2
AIM = 0.65


def sweep(jobs: int, steps: int, device: torch.device) -> None:
    """Carry out all runs in a temporary folder."""
    env_kwargs = {"device": str(device)}
    runs = plan(RunSettings("MTLRouting-Digits-v0", "", steps, num_envs=64, env_kwargs=env_kwargs), AGENTS, SEEDS)
    with tempfile.TemporaryDirectory() as out:
        failed = [outcome for outcome in carry_out(Sweep(runs, Path(out)), jobs) if isinstance(outcome, Failure)]
    if failed:
        raise RuntimeError(f"a run failed: {failed[0]}")


def seconds(jobs: int, steps: int, device: torch.device) -> float:
    """Return the seconds of a sweep."""
    start = now()
    sweep(jobs, steps, device)
    return now() - start


def main(arguments: argparse.Namespace) -> None:
    """Measure and print the table."""
    begin("A sweep of six runs on digits", arguments)
    taken: dict[int, list[float]] = {jobs: [] for jobs in arguments.jobs}
    for _ in range(arguments.rounds):
        for jobs in arguments.jobs:
            taken[jobs].append(seconds(jobs, arguments.steps, arguments.device))
    timings = {jobs: Timing(np.array(times)) for jobs, times in taken.items()}
    one = timings[arguments.jobs[0]]
    rows = [
        [
            jobs,
            max(1, torch.get_num_threads() // jobs),
            timing.median,
            percent(timing.spread),
            1 / timing.speed_against(one),
        ]
        for jobs, timing in timings.items()
    ]
    print(table(["jobs", "threads of each", "seconds", "spread", "share of the first"], rows))
    print(f"\nAim: two jobs on two cores take under {AIM} of the time of one.")


if __name__ == "__main__":
    made = parser(__doc__, rounds=2, seconds=0.0)
    made.add_argument("--steps", type=int, default=300_000, help="decisions per run")
    made.add_argument(
        "--jobs", type=int, nargs="+", default=[1, 2], help="numbers of processes; the first is the reference"
    )
    main(made.parse_args())
