"""Search for the best schedule of `MTLScheduling-Prerequisites-v0`, and print the best ones with their values.

All schedules of pattern and parity in equal parts of a run are played on instances apart from those of the benchmark.
The best ones, and all that differ from the first in one part, where they train another task, are played again in more
runs.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mtl_gym.families.scheduling.prerequisites import PrerequisitesOptions, PrerequisitesVectorEnv

Plans = NDArray[np.int64]
INSTANCES = (100, 101, 102)


def parser() -> argparse.ArgumentParser:
    """Return the parser; options of the environment have its defaults."""
    made = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--updates", type=int, default=PrerequisitesOptions().updates)
    made.add_argument("--parts", type=int, default=8, help="equal parts of a run")
    made.add_argument("--runs", type=int, default=4, help="runs of every schedule on each instance")
    made.add_argument("--again", type=int, default=32, help="runs of the best schedules on each instance")
    return made


def environments(updates: int, parts: int) -> list[PrerequisitesVectorEnv]:
    """Return an environment for each instance, with one decision for each part of a run."""
    made = [
        PrerequisitesVectorEnv(updates=updates, updates_per_step=updates // parts, instance=instance)
        for instance in INSTANCES
    ]
    for env in made:
        env.reset(seed=100)
    return made


def in_order(env: PrerequisitesVectorEnv, plans: Plans) -> Plans:
    """Return schedules of task numbers from schedules in which 0 is pattern, 1 parity, and 2, 3, ... the others."""
    others = [task for task in range(env.data.num_tasks) if task not in env.chain]
    return np.array([*env.chain, *others])[plans]


def values(envs: list[PrerequisitesVectorEnv], plans: Plans, runs: int) -> NDArray[np.float64]:
    """Return the mean validation figure of every schedule; [plans, parts] -> float64 [plans]."""
    return np.mean([_values(env, in_order(env, plans), runs) for env in envs], 0)


def _values(env: PrerequisitesVectorEnv, plans: Plans, runs: int) -> NDArray[np.float64]:
    view = env.evaluation_view("validation", len(plans) * runs)
    view.reset()
    for tasks in np.repeat(plans, runs, 0).T:
        _, transition, _ = view.advance(tasks)
    accuracy = transition.final_info["accuracy"][:, env.chain].mean(1)
    return 100 * accuracy.reshape(len(plans), runs).mean(1)


def changed(plan: NDArray[np.int64], tasks: int) -> Plans:
    """Return all schedules that differ from one in a single part, where they train a task other than the first two."""
    return np.array(
        [[*plan[:place], task, *plan[place + 1 :]] for place in range(len(plan)) for task in range(2, tasks)]
    )


def main(arguments: argparse.Namespace) -> None:
    """Search and print."""
    envs = environments(arguments.updates, arguments.parts)
    plans = np.array(list(product((0, 1), repeat=arguments.parts)))
    best = plans[values(envs, plans, arguments.runs).argsort()[::-1][:12]]
    found = values(envs, best, arguments.again)
    print(f"{arguments.updates} updates: 0 is pattern, 1 parity; mean validation accuracy of both")
    for place in found.argsort()[::-1]:
        print(f"{best[place].tolist()}  {found[place]:.1f}")
    in_turn = np.arange(arguments.parts)[None] % 2
    print(f"pattern and parity in turn: {values(envs, in_turn, arguments.again).item():.1f}")
    others = changed(best[found.argmax()], envs[0].data.num_tasks)
    print(f"the first with another task in one part: at most {values(envs, others, arguments.again // 4).max():.1f}")


if __name__ == "__main__":
    main(parser().parse_args())
