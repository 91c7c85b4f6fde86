"""Compare right and wrong connections on generated clinical series, whose truth is known.

The network has three paths: a cell and a sub-encoder in either layer. Two tasks share each path: those of a phenotype
("phenotypes"), or two of different phenotypes ("mixed"). With "own day", paths are those of "phenotypes", and a task
reads its path only on its day. The script prints the accuracies on the test rows of every fold, and what each step from
one to the next changes, with Student's 95% intervals, corrected for the overlap of folds.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
from mtl_agents import AllConnected

import mtl_gym
from mtl_gym.data.sources.clinical_series import DAYS, STEPS, STEPS_PER_DAY
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.statistics import reach

ID = "MTLRecurrent-ClinicalSeries-v0"
FOLDS = 5
# Path of each task: infection-1, infection-2, circulation-1, circulation-2, kidney-1, kidney-2.
PATHS = {"mixed": (0, 1, 1, 2, 2, 0), "phenotypes": (0, 0, 1, 1, 2, 2), "own day": (0, 0, 1, 1, 2, 2)}


class FixedConnections(AllConnected):
    """Connections that depend on task and step; int8 [tasks, steps, connections]."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        """Return the connections of each row at its step, and `state`."""
        return self.routes[observation["task"], observation["step"]], state

    def plan(self, task, steps):
        """Return the connections of all steps; int8 [rows, steps, connections]."""
        return self.routes[task, :steps]


def connections(name: str, names: list[str]) -> np.ndarray:
    """Return the connections of each task at each step; int8 [tasks, steps, connections]."""
    routes = np.zeros((len(PATHS[name]), STEPS, len(names)), np.int8)
    for task, path in enumerate(PATHS[name]):
        cell, first, second = f"cell {path + 1}", "ABC"[path], "DEF"[path]
        own = {f"{cell} > {first}", f"{first} > {second}", f"{first} > decoder 1", f"{second} > decoder 2"}
        routes[task] = [connection in own for connection in names]
        if name == "own day":
            other = np.arange(STEPS) // STEPS_PER_DAY != task % DAYS
            decoders = np.array(["decoder" in connection for connection in names])
            routes[task][np.ix_(other, decoders)] = 0
    return routes


def accuracy(name: str, seed: int, arguments: argparse.Namespace) -> float:
    """Train the network with fixed connections on the fold of `seed`; return the mean test accuracy in %."""
    options = {"data_kwargs": {"fold": seed % FOLDS}, "learning_rate": 0.01, "base": None}
    env = make_vec_env(ID, arguments.num_envs, seed, **options)
    agent = FixedConnections(env, seed=seed)
    agent.routes = connections(name, list(env.batched.layout.names))
    return 100 * mtl_gym.evaluate(agent.learn(arguments.steps), env, "test").mean_accuracy


def main(arguments: argparse.Namespace) -> None:
    """Train all and print the table."""
    print(f"{'seed':<6}{'fold':<6}" + "".join(f"{name:>12}" for name in PATHS))
    table = []
    for seed in range(arguments.seeds):
        table.append([accuracy(name, seed, arguments) for name in PATHS])
        print(f"{seed:<6}{seed % FOLDS:<6}" + "".join(f"{value:>12.1f}" for value in table[-1]), flush=True)
    found = np.array(table)
    print(f"{'mean':<12}" + "".join(f"{value:>12.1f}" for value in found.mean(0)))
    for (before, after), apart in zip(pairwise(PATHS), np.diff(found).T, strict=True):
        mean, half = apart.mean(), reach(apart, FOLDS)
        print(f"{after} minus {before}: {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=260_000)
    parser.add_argument("--num-envs", type=int, default=128)
    main(parser.parse_args())
