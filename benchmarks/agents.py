"""Measure the cost of deciding and learning of agents, relative to the environment's steps.

Each agent learns for some rounds; every round measures the time inside and outside the environment in the same steps.
The environment's time includes forward, backward, optimizer and the SB3 adapter.

With `--seeds 10`, compare ten seeds of `fast-ppo` at once with one seed of SB3's PPO instead. All have rollouts of
2,048 decisions and ten passes in minibatches of 256, on 64 rows for each seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from measuring import alternate, begin, now, parser, percent, random_images, table
from mtl_agents import FastPPO

from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from mtl_gym.lab.agents import find_agent
from mtl_gym.lab.memory import keep_memory

AGENTS = [
    *("random-fixed", "random", "wpl", "pg-table", "q-table", "q-history", "reinforce", "reinforce-single", "q-net"),
    "dispatched",
]
AIM = 0.25
PPO_IDS, PPO_AIM, ROWS, DECISIONS = ("MTLRouting-Context-v0", "MTLRouting-Paths-v0"), 2.0, 64, 2048


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


def compare_seeds(arguments: argparse.Namespace, env_id: str) -> list[object]:
    """Measure PPO of one seed and of many; return the line of an id, in seconds per 10,000 decisions of a seed."""
    agents = {
        "ppo": find_agent("ppo")(make_vec_env(env_id, ROWS), seed=0),
        "one": FastPPO(make_vec_env(env_id, ROWS), seed=0),
        "many": FastPPO(make_vec_env(env_id, ROWS, runs=arguments.seeds), seed=0),
    }
    ways = {name: _rollout_of(agent) for name, agent in agents.items()}
    times = alternate(ways, arguments.rounds, arguments.seconds)
    seconds = [times[name].median * 10_000 / DECISIONS for name in ways]
    ratios = [1 / times[name].speed_against(times["ppo"]) for name in ("one", "many")]
    return [env_id, *seconds, *ratios, percent(max(time.spread for time in times.values()))]


def _rollout_of(agent: Any) -> Callable[[], object]:
    return lambda: agent.learn(DECISIONS, reset_num_timesteps=False)


def main_seeds(arguments: argparse.Namespace) -> None:
    """Compare PPO on all ids of `PPO_IDS` and print the table."""
    keep_memory()
    begin("PPO of one seed and of many, seconds per 10,000 decisions of a seed", arguments)
    names = ["SB3's ppo", "fast-ppo, 1 seed", f"fast-ppo, {arguments.seeds} seeds"]
    header = ["id", *names, *(f"{name} / SB3's" for name in names[1:]), "largest spread"]
    print(table(header, [compare_seeds(arguments, env_id) for env_id in PPO_IDS]))
    print(f"\nAim: ten seeds in at most {PPO_AIM:g} times the time of SB3's one.")


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
    made.add_argument("--seeds", type=int, default=0, help="seeds of fast-ppo to compare with one of SB3's PPO instead")
    made.add_argument("--images", action="store_true", help="use images and a convolutional trunk instead of digits")
    torch.set_num_threads(1)
    given = made.parse_args()
    (main_seeds if given.seeds else main)(given)
