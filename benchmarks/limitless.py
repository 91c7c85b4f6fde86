"""Measure decisions per second of limitless routing: the environment alone, and with the transformer router learning.

The data are digits as 8 x 8 images; the pool repeats the paper's six modules up to the requested size. Random valid
choices drive the environment alone; "masks" is the share of time for computing and drawing them. `LRN.learn` uses the
sizes and the batch of modules of the paper.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from measuring import Timing, alternate, begin, now, parser, percent, table
from mtl_agents import LRN

from mtl_gym.families.limitless import LimitlessVectorEnv, ModulePool, paper_pool
from mtl_gym.integrations.sb3 import BatchedVecEnv

Call = Callable[[], object]

SHAPE, MAX_DEPTH = (1, 8, 8), 4


def pool_of(size: int) -> ModulePool:
    """Return the first `size` modules of the repeated pool of the paper."""
    whole = paper_pool(SHAPE, classes=2, duplicates=-(-size // 6))
    return ModulePool([whole[number] for number in range(size)], SHAPE)


def batched(size: int, width: int, device: torch.device) -> LimitlessVectorEnv:
    """Return the batched environment after a reset."""
    env = LimitlessVectorEnv(
        width, data="digits", image_shape=SHAPE, network=pool_of(size), max_depth=MAX_DEPTH, device=device
    )
    env.reset(seed=0)
    return env


def draw(env: LimitlessVectorEnv, random: np.random.Generator) -> np.ndarray:
    """Draw valid choices of all rows; int64 [num_envs]."""
    masks = env.action_masks()
    return np.where(masks, random.random(masks.shape), -1).argmax(1)


def walk(env: LimitlessVectorEnv, advance: bool = True) -> Call:
    """Return a batched step, or only the drawing of its choices, as a function."""
    random = np.random.default_rng(0)

    def run() -> None:
        actions = draw(env, random)
        if advance:
            env.advance(actions)

    def masks() -> None:
        env._building._masks = None
        draw(env, random)

    return run if advance else masks


def learning(size: int, width: int, device: torch.device) -> tuple[Call, int]:
    """Return a rollout of LRN with its updates as a function, and its number of decisions."""
    agent = LRN(BatchedVecEnv(batched(size, width, device)), seed=0, **LRN.PAPER)
    agent.learn(1)
    decisions = agent.n_steps * width
    return lambda: agent.learn(decisions, reset_num_timesteps=False), decisions


def clocked(way: Call) -> float:
    """Return the seconds of one call; a rollout takes too long for several."""
    start = now()
    way()
    return now() - start


def environment_alone(arguments: argparse.Namespace) -> None:
    """Print table 1: the environment alone."""
    rows = []
    for width in arguments.widths:
        envs = {size: batched(size, width, arguments.device) for size in arguments.pools}
        ways: dict[tuple[int, str], Call] = {(size, "step"): walk(env) for size, env in envs.items()}
        ways |= {(size, "masks"): walk(env, advance=False) for size, env in envs.items()}
        timings = alternate(ways, arguments.rounds, arguments.seconds)
        for size in arguments.pools:
            step = timings[size, "step"]
            share = percent(timings[size, "masks"].median / step.median)
            rows.append([width, size, *_speed(step, width, timings[arguments.pools[0], "step"]), share])
    print("### The environment alone\n")
    print(table(["wide", "modules", "decisions/s", "spread", "against the smallest pool", "masks"], rows), flush=True)


def with_lrn(arguments: argparse.Namespace) -> None:
    """Print table 2: LRN."""
    rows = []
    for width in arguments.learn_widths:
        made = {size: learning(size, width, arguments.device) for size in arguments.pools}
        taken = {size: [clocked(way) for _ in range(arguments.learn_rounds)] for size, (way, _) in made.items()}
        timings = {size: Timing(np.array(seconds)) for size, seconds in taken.items()}
        for size, (_, decisions) in made.items():
            rows.append([width, size, *_speed(timings[size], decisions, timings[arguments.pools[0]])])
    print("\n### LRN.learn\n")
    print(table(["wide", "modules", "decisions/s", "spread", "against the smallest pool"], rows))


def _speed(timing: Timing, decisions: int, smallest: Timing) -> tuple[float, str, float]:
    return decisions / timing.median, percent(timing.spread), timing.speed_against(smallest)


def main(arguments: argparse.Namespace) -> None:
    """Measure and print both tables."""
    begin(f"Limitless routing on digits, at most {MAX_DEPTH} decisions a network", arguments)
    environment_alone(arguments)
    with_lrn(arguments)


if __name__ == "__main__":
    made = parser(__doc__, rounds=7, seconds=0.5)
    made.add_argument("--pools", type=int, nargs="+", default=[13, 65, 130], help="sizes of the pool")
    made.add_argument("--widths", type=int, nargs="+", default=[16, 128, 1024], help="parallel episodes")
    made.add_argument("--learn-widths", type=int, nargs="+", default=[16, 128, 1024], help="parallel episodes of LRN")
    made.add_argument("--learn-rounds", type=int, default=1, help="rollouts of LRN per line")
    main(made.parse_args())
