"""Measure the speed of the benchmark ids: training runs of their own length, and steps of an environment alone.

Each line has its aim beside it. A run includes making environment and agent, but no evaluation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gymnasium as gym
import numpy as np
import torch
from measuring import begin, now, parser, table

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


def seconds_of_run(env_id: str, agent: str, steps: int, device: torch.device) -> float:
    """Return the seconds in which an agent learns for `steps` decisions on the rows of the id's card."""
    start = now()
    env = make_vec_env(env_id, card(env_id).num_envs, seed=0, device=device)
    find_agent(agent)(env, seed=0).learn(steps)
    return now() - start


def run(env_id: str, agent: str, aim: str, arguments: argparse.Namespace) -> Case:
    """Return the case of one run."""
    steps = max(1, int(arguments.share * card(env_id).steps))
    measure = partial(seconds_of_run, env_id, agent, steps, arguments.device)
    return Case(f"{env_id}: {agent} learns for {steps:,} decisions", measure, aim)


def speed(env_id: str, num_envs: int, aim: str, arguments: argparse.Namespace) -> Case:
    """Return the case of decisions per second of `step` with random actions, infos and endings included."""
    steps = max(1, int(arguments.share * STEPS))
    env = gym.make_vec(env_id, num_envs=num_envs, device=arguments.device)
    env.reset(seed=0)
    actions = np.array([env.action_space.sample() for _ in range(DRAWN)])

    def measure() -> float:
        start = now()
        for step in range(steps):
            env.step(actions[step % DRAWN])
        return steps * num_envs / (now() - start)

    return Case(f"{env_id}: steps with {num_envs} rows", measure, aim, "decisions/s")


def cases(arguments: argparse.Namespace) -> list[Case]:
    """Return all cases."""
    tables = [run("MTLRouting-Paths-v0", agent, "under 5 s", arguments) for agent in ("q-history", "pg-table")]
    return [*tables, speed("MTLScheduling-Skills-v0", WIDE, "over 100,000 decisions/s", arguments)]


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main(arguments: argparse.Namespace) -> None:
    """Measure all cases and print the table."""
    begin("Benchmark ids", arguments)
    rows = []
    for case in cases(arguments):
        median = float(np.median([case.measure() for _ in range(arguments.rounds)]))
        rows.append([case.what, f"{_written(median)} {case.unit}", case.aim])
    print(table(["what", "measured", "aim"], rows))


if __name__ == "__main__":
    made = parser(__doc__, rounds=5, seconds=0.0)
    made.add_argument("--share", type=float, default=1.0, help="share of a run that is measured")
    main(made.parse_args())
