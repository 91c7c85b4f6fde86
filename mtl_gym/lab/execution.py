"""Carry out a sweep: one run after the other, in several processes, or on a Ray cluster."""

from __future__ import annotations

from mtl_gym.lab.cluster import on_ray
from mtl_gym.lab.processes import in_processes
from mtl_gym.lab.sweep import Outcome, Sweep, Watcher


def carry_out(sweep: Sweep, jobs: int = 1, ray: str | None = None, watcher: Watcher | None = None) -> list[Outcome]:
    """Carry out the runs that are not finished; return the outcomes of all in their order.

    Args:
        sweep: The runs.
        jobs: Processes on this machine, which share its threads.
        ray: Address of a Ray cluster, "auto" for the one that this machine belongs to, "local" for one of its own.
        watcher: Sees how they get on.

    Raises:
        ImportError: If Ray is asked for and not installed.
        ValueError: If both processes and Ray are asked for.
    """
    if ray is not None and jobs > 1:
        raise ValueError("--jobs is for this machine, --ray for a cluster: give one of them.")
    watcher = watcher or Watcher()
    if ray is not None:
        return on_ray(sweep, ray, watcher)
    if jobs > 1:
        return in_processes(sweep, jobs, watcher)
    return [_here(sweep, run, watcher) for run in range(len(sweep.runs))]


def _here(sweep: Sweep, run: int, watcher: Watcher) -> Outcome:
    outcome = sweep.attempt(run, lambda steps, accuracy: watcher.moved(run, steps, accuracy))
    watcher.ended(run, outcome)
    return outcome
