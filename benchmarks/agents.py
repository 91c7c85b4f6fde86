"""Measure the cost of deciding and learning of agents, relative to the environment's steps.

Each agent learns for some rounds; every round measures the time inside and outside the environment in the same steps.
The environment's time includes forward, backward, optimizer and the SB3 adapter.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from measuring import begin, now, parser, percent, random_images, table

from mtl_gym.integrations.sb3 import BatchedVecEnv
from mtl_gym.lab.agents import find_agent

AGENTS = [
    *("random-fixed", "random", "wpl", "pg-table", "q-table", "q-history", "reinforce", "reinforce-single", "q-net"),
    "dispatched",
]
AIM = 0.25


class Watched(BatchedVecEnv):
    """An adapter that accumulates the seconds inside its steps."""

    seconds = 0.0

    def step_wait(self) -> Any:
        """Step every row, and measure the time."""
        start = now()
        result = super().step_wait()
        self.seconds += now() - start
        return result


def environment(arguments: argparse.Namespace, name: str) -> Watched:
    """Return the environment with the options that the agent requires."""
    options = dict(getattr(find_agent(name), "ENV_KWARGS", {}), device=arguments.device)
    if arguments.images:
        options |= {"data": random_images(), "hidden": 128}
    return Watched(gym.make_vec("MTLRouting-Digits-v0", num_envs=arguments.wide, **options))


def round_of(agent: Any, env: Watched, steps: int) -> tuple[float, float]:
    """Return the seconds inside and outside the environment, per batched step."""
    env.seconds, start = 0.0, now()
    agent.learn(steps * env.num_envs, reset_num_timesteps=False)
    total = now() - start
    return env.seconds / steps, (total - env.seconds) / steps


def measure(arguments: argparse.Namespace, name: str) -> list[object]:
    """Measure one agent; return its line of the table."""
    env = environment(arguments, name)
    agent = find_agent(name)(env, seed=0)
    agent.learn(arguments.steps * env.num_envs)
    inside, outside = np.array([round_of(agent, env, arguments.steps) for _ in range(arguments.rounds)]).T
    return [name, *(float(np.median(part)) * 1e3 for part in (inside, outside)), percent(np.median(outside / inside))]


def main(arguments: argparse.Namespace) -> None:
    """Measure all agents and print the table."""
    where = "noise in CIFAR-100's shape, with SimpleConvNet" if arguments.images else "digits, without a trunk"
    begin(f"Agents on {where}, {arguments.wide} wide, ms per step of the batch", arguments)
    rows = [measure(arguments, name) for name in arguments.agents]
    print(table(["agent", "environment", "agent's own", "own / environment"], rows))
    print(f"\nAim: under {percent(AIM)} at 256 wide.")


if __name__ == "__main__":
    made = parser(__doc__, rounds=9, seconds=0.0)
    made.add_argument("--agents", nargs="+", default=AGENTS, help="names of agents")
    made.add_argument("--wide", type=int, default=256, help="parallel episodes")
    made.add_argument("--steps", type=int, default=60, help="batched steps per round")
    made.add_argument("--images", action="store_true", help="use images and a convolutional trunk instead of digits")
    torch.set_num_threads(1)
    main(made.parse_args())
