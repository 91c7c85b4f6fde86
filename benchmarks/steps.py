"""Measure environment steps per second, and the environment's own share of the time.

All measurements train on `MTLRouting-Digits-v0` (64 features, three routed layers of ten blocks, no trunk) with random
routes. "Replay" is only the torch work of a step: the same `RoutedNetwork` on batches of the same size along random
routes, cross-entropy, backward, the same Adam. The remaining time, without reading inputs, is the environment's own:
sampling, bookkeeping, rewards, observations, checks, infos.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from functools import partial

import gymnasium as gym
import numpy as np
import torch
from measuring import Timing, alternate, begin, parser, percent, resident_mebibytes, table
from numpy.typing import NDArray

import mtl_gym  # noqa: F401 (registers the ids)
from mtl_gym.families.routing import RoutingVectorEnv
from mtl_gym.integrations.sb3 import BatchedVecEnv

ENV_ID = "MTLRouting-Digits-v0"
DRAWN = 48
MEMORY_WIDTH, MEMORY_MARKS = 256, 5
AIM_OWN, AIM_ADAPTER, AIM_WIDE = 0.15, 0.10, 50

Call = Callable[[], object]


def batched(width: int, device: torch.device) -> RoutingVectorEnv:
    """Return the batched environment after a reset."""
    env = gym.make_vec(ENV_ID, num_envs=width, device=device).unwrapped
    env.reset(seed=0)
    return env


def drawn_actions(env: RoutingVectorEnv) -> NDArray[np.int64]:
    """Draw random blocks for future steps; int64 [DRAWN, num_envs], with `DRAWN` a multiple of the depth."""
    return np.random.default_rng(0).integers(env.num_blocks, size=(DRAWN, env.num_envs))


def calls_per_update(env: RoutingVectorEnv) -> int:
    """Return the number of batched steps between updates without invalid choices."""
    return env.routed_depth * env.batch_size // env.num_envs


def one_update(env: RoutingVectorEnv, act: Callable[[NDArray[np.int64]], object]) -> Call:
    """Return all steps between two updates, as a function without arguments."""
    actions, position, steps = drawn_actions(env), [0], calls_per_update(env)

    def run() -> None:
        for _ in range(steps):
            act(actions[position[0] % DRAWN])
            position[0] += 1

    return run


def single(env: gym.Env) -> Callable[[NDArray[np.int64]], object]:
    """Return a step of `gym.make`'s environment, with a reset after an episode, as a function."""
    env.reset(seed=0)

    def act(action: NDArray[np.int64]) -> None:
        _, _, terminated, truncated, _ = env.step(action[0])
        if terminated or truncated:
            env.reset()

    return act


def replay(width: int, device: torch.device) -> Call:
    """Return the torch work between two updates of `batched(width, device)` on given inputs, as a function."""
    env = batched(width, device)
    network, optimizer, depth = env.network.train(), env.optimizer, env.routed_depth
    actions, split = drawn_actions(env), env.data.split("train")
    inputs, label = env.data.inputs("train", torch.arange(env.batch_size, device=device)), split.y[: env.batch_size]
    starts = range(0, env.batch_size, width)

    def run() -> None:
        losses, features = [], network.embed(inputs)
        for turn, start in enumerate(starts):
            values = features[start : start + width]
            for level in range(depth):
                values = network.decide(values, level, actions[(turn * depth + level) % DRAWN])
            logits = values[:, : network.classes]
            losses.append(torch.nn.functional.cross_entropy(logits, label[start : start + width], reduction="none"))
        torch.cat(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def reading(width: int, device: torch.device) -> Call:
    """Return the reading of random inputs of one update, as a function."""
    env = batched(width, device)
    rows = np.random.default_rng(0).integers(len(env.data.split("train")), size=env.batch_size)
    return partial(env.data.inputs, "train", torch.from_numpy(rows).to(device))


def speed(arguments: argparse.Namespace) -> None:
    """Print table 1: steps per second by width."""
    envs = {f"make_vec, {width} wide": batched(width, arguments.device) for width in arguments.widths}
    ways = {name: one_update(env, env.step) for name, env in envs.items()}
    made = gym.make(ENV_ID, device=arguments.device)
    envs["make"] = made.unwrapped.batched
    ways["make"] = one_update(envs["make"], single(made))
    steps = {name: calls_per_update(env) * env.num_envs for name, env in envs.items()}
    timings = alternate(ways, arguments.rounds, arguments.seconds)
    each = {name: Timing(timing.seconds / steps[name]) for name, timing in timings.items()}
    narrow = each[f"make_vec, {arguments.widths[0]} wide"]
    rows = [
        [name, 1 / timing.median, timing.median * 1e6, percent(timing.spread), timing.speed_against(narrow)]
        for name, timing in each.items()
    ]
    print("### Environment steps\n")
    print(table(["environment", "env steps/s", "us per env step", "spread", "times as fast"], rows))
    print(f"\nAim: {AIM_WIDE} times as fast per environment step at 1024 wide as at 1 wide.\n", flush=True)


def own_share(arguments: argparse.Namespace) -> None:
    """Print table 2: time without forward, backward and optimizer."""
    rows = []
    for width in arguments.widths:
        env, bare = batched(width, arguments.device), batched(width, arguments.device)
        ways = {"step": one_update(env, env.step), "advance": one_update(bare, bare.advance)}
        ways |= {"replay": replay(width, arguments.device), "reading": reading(width, arguments.device)}
        timings = alternate(ways, arguments.rounds, arguments.seconds)
        torch_work = (timings["replay"], timings["reading"])
        ms = [timing.median * 1e3 / calls_per_update(env) for timing in timings.values()]
        shares = [timings[name].share_beyond(*torch_work) for name in ("advance", "step")]
        rows.append([width, *ms, *map(percent, shares), percent(timings["step"].share_beyond(timings["replay"]))])
    print("### The environment's own time, ms per batched step\n")
    own = ["own share of advance()", "own share of step()", "step() beyond replay"]
    print(table(["wide", "step()", "advance()", "replay", "reading", *own], rows))
    print(f"\nAim: an own share under {percent(AIM_OWN)} at 256 wide.\n", flush=True)


def adapter(arguments: argparse.Namespace) -> None:
    """Print table 3: overhead of the Stable-Baselines3 adapter."""
    rows = []
    for width in arguments.widths:
        env, inner = batched(width, arguments.device), batched(width, arguments.device)
        vec_env = BatchedVecEnv(inner)
        vec_env.reset()
        ways = {"step": one_update(env, env.step), "adapter": one_update(inner, vec_env.step)}
        timings = alternate(ways, arguments.rounds, arguments.seconds)
        ms = [timing.median * 1e3 / calls_per_update(env) for timing in timings.values()]
        ratio = 1 / timings["adapter"].speed_against(timings["step"])
        rows.append([width, *ms, percent(timings["adapter"].spread), f"{ratio - 1:+.0%}"])
    print("### Stable-Baselines3 adapter, ms per batched step\n")
    print(table(["wide", "env.step()", "BatchedVecEnv.step()", "spread", "on top"], rows))
    print(f"\nAim: under {percent(AIM_ADAPTER)} on top at 256 wide.\n", flush=True)


def memory(arguments: argparse.Namespace) -> None:
    """Print table 4: resident memory over many steps."""
    env = batched(MEMORY_WIDTH, arguments.device)
    run = one_update(env, env.step)
    updates = max(1, arguments.memory_steps // calls_per_update(env) // MEMORY_MARKS)
    rows = []
    for mark in range(MEMORY_MARKS + 1):
        if mark:
            for _ in range(updates):
                run()
        gc.collect()
        rows.append([f"{mark * updates * calls_per_update(env):,}", resident_mebibytes()])
    print(f"### Memory, {MEMORY_WIDTH} wide\n")
    print(table(["batched steps", "resident MiB"], [[steps, f"{size:.1f}"] for steps, size in rows]))
    growth = rows[-1][1] - rows[1][1]
    print(f"\n{growth:+.1f} MiB since the second line (aim: flat; the first steps fill the allocator's pools).")


def main(arguments: argparse.Namespace) -> None:
    """Measure and print the four tables."""
    begin(f"Steps of {ENV_ID}", arguments)
    speed(arguments)
    own_share(arguments)
    adapter(arguments)
    memory(arguments)


if __name__ == "__main__":
    made = parser(__doc__, rounds=15, seconds=0.1)
    made.add_argument("--widths", type=int, nargs="+", default=[1, 16, 256, 1024], help="parallel episodes")
    made.add_argument("--memory-steps", type=int, default=20_000, help="batched steps of the memory check")
    main(made.parse_args())
