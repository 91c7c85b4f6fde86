"""Measure the speed of the benchmark ids: training runs of their own length, and steps of an environment alone.

Each line has its aim beside it. A run includes making environment and agent, but no evaluation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from measuring import begin, parser, table

from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.agents import find_agent
from mtl_gym.registration import card

# Rows, steps and different actions of a measurement of speed.
WIDE, STEPS, DRAWN = 256, 1200, 64


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        what: Description.
        measure: Function that returns one measurement.
        aim: Aim, in words.
        unit: Unit of the measurement.
    """

    what: str
    measure: Callable[[], float]
    aim: str
    unit: str = "s"


def seconds_of_run(env_id: str, agent: str, steps: int) -> float:
    """Return the seconds in which an agent learns for `steps` decisions on the rows of the id's card."""
    start = time.perf_counter()
    env = make_vec_env(env_id, card(env_id).num_envs, seed=0, device="cpu")
    find_agent(agent)(env, seed=0).learn(steps)
    return time.perf_counter() - start


def run(env_id: str, agent: str, share: float, aim: str) -> Case:
    """Return the case of one run; `share` of its decisions, for tests."""
    steps = max(1, int(share * card(env_id).steps))
    return Case(f"{env_id}: {agent} learns for {steps:,} decisions", lambda: seconds_of_run(env_id, agent, steps), aim)


def speed(env_id: str, num_envs: int, steps: int, aim: str) -> Case:
    """Return the case of decisions per second of `step` with random actions, infos and endings included."""
    env = gym.make_vec(env_id, num_envs=num_envs)
    env.reset(seed=0)
    actions = np.array([env.action_space.sample() for _ in range(DRAWN)])

    def measure() -> float:
        start = time.perf_counter()
        for step in range(steps):
            env.step(actions[step % DRAWN])
        return steps * num_envs / (time.perf_counter() - start)

    return Case(f"{env_id}: steps with {num_envs} rows", measure, aim, "decisions/s")


def cases(share: float) -> list[Case]:
    """Return all cases."""
    tables = [run("MTLRouting-Paths-v0", agent, share, "under 5 s") for agent in ("q-history", "pg-table")]
    steps = max(1, int(share * STEPS))
    return [*tables, speed("MTLScheduling-Skills-v0", WIDE, steps, "over 100,000 decisions/s")]


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main(arguments: argparse.Namespace) -> None:
    """Measure all cases and print the table."""
    begin("Benchmark ids", arguments)
    rows = []
    for case in cases(arguments.share):
        median = float(np.median([case.measure() for _ in range(arguments.rounds)]))
        rows.append([case.what, f"{_written(median)} {case.unit}", case.aim])
    print(table(["what", "measured", "aim"], rows))


if __name__ == "__main__":
    made = parser(__doc__, rounds=5, seconds=0.0)
    made.add_argument("--share", type=float, default=1.0, help="share of a run that is measured")
    main(made.parse_args())
