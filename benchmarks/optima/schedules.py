"""Values of schedules in scheduling environments whose tasks stand in a secret order, for the searches here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mtl_gym.families.scheduling.known import KnownScheduleVectorEnv

Plans = NDArray[np.int64]
# Instances and seed of searches, apart from those of the benchmark, so that their test samples may be used.
INSTANCES, SEED = (100, 101, 102), 100


def values(envs: Sequence[KnownScheduleVectorEnv], plans: Plans, runs: int) -> NDArray[np.float64]:
    """Return the mean test figure of every schedule.

    Args:
        envs: Environments of some instances, with one decision for each part of a run.
        plans: Places in `roles`; int64 [plans, parts].
        runs: Runs of every schedule in each environment.

    Returns:
        float64 [plans], in the unit of the environments' measure.
    """
    return np.mean([_values(env, env.order[plans], runs) for env in envs], 0)


def _values(env: KnownScheduleVectorEnv, tasks: Plans, runs: int) -> NDArray[np.float64]:
    view = env.evaluation_view("test", len(tasks) * runs)
    view.reset()
    for chosen in np.repeat(tasks, runs, 0).T:
        _, transition, _ = view.advance(chosen)
    info = transition.final_info
    accuracy, loss = (info[name].reshape(len(tasks), runs, -1).mean(1) for name in ("accuracy", "loss"))
    return np.array([env.figure(*figures) for figures in zip(accuracy, loss, strict=True)])


def ranking(env: KnownScheduleVectorEnv, found: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of figures, best first."""
    return (-found if env.measure.higher else found).argsort(kind="stable")


def changed(plan: NDArray[np.int64], tasks: Sequence[int]) -> Plans:
    """Return all schedules that differ from one in a single part, where they train one of some tasks."""
    places = [(place, task) for place, task in product(range(len(plan)), tasks) if plan[place] != task]
    return np.array([[*plan[:place], task, *plan[place + 1 :]] for place, task in places])


def told(env: KnownScheduleVectorEnv, plans: Plans, found: NDArray[np.float64]) -> str:
    """Return a line for every schedule with its figure, best first."""
    return "\n".join(f"{plans[place].tolist()}  {found[place]:.3f}" for place in ranking(env, found))
