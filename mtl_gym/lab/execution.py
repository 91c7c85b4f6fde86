"""Execution of a sweep: sequentially, in several processes, or on a Ray cluster."""

from __future__ import annotations

from mtl_gym.lab.cluster import on_ray
from mtl_gym.lab.processes import in_processes
from mtl_gym.lab.sweep import Outcome, Sweep, Watcher


def carry_out(sweep: Sweep, jobs: int = 1, ray: str | None = None, watcher: Watcher | None = None) -> list[Outcome]:
    """Carry out all unfinished runs; return the outcomes of all runs in order.

    Args:
        sweep: The runs.
        jobs: Number of processes on this machine, which share its threads.
        ray: Address of a Ray cluster, "auto" for this machine's cluster, "local" for a new one on this machine.
        watcher: Receiver of progress and outcomes.

    Raises:
        MissingExtraError: If Ray is requested and not installed.
        ValueError: If both processes and Ray are requested.
        FileExistsError: If the folder of a run contains a run with other settings.
    """
    if ray is not None and jobs > 1:
        raise ValueError("--jobs and --ray exclude each other: give one of them.")
    watcher = watcher or Watcher()
    sweep.refuse_other_runs()
    sweep.write_plan()
    if ray is not None:
        return on_ray(sweep, ray, watcher)
    if jobs > 1:
        return in_processes(sweep, jobs, watcher)
    outcomes: dict[int, Outcome] = {}
    for unit in sweep.units(range(len(sweep.runs))):
        for run, outcome in zip(unit, sweep.attempt(unit, watcher.moved), strict=True):
            outcomes[run] = outcome
            watcher.ended(run, outcome)
    return [outcomes[run] for run in range(len(sweep.runs))]
