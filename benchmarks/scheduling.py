"""Measure updates per second of the scheduling environment relative to a plain loop, and the cost per parallel run.

"plain loop" trains the same encoder and heads as ordinary modules with torch's Adam, one minibatch per update, without
validation samples; "update" is the environment's gradient step without a state; "state" measures validation samples and
makes histograms of them; "step" is the whole step: update, state, reward and checks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from measuring import Timing, alternate, begin, parser, percent, table
from torch.nn.functional import cross_entropy

from mtl_gym.data import MultiTaskDataset, load
from mtl_gym.families.scheduling import SchedulingVectorEnv

Call = Callable[[], object]


def environment(data: MultiTaskDataset, runs: int, samples: int | None, control: str = "choice") -> SchedulingVectorEnv:
    """Return the environment after a reset; its runs are longer than any measurement."""
    options = {"updates": 1_000_000, "reference": None, "validation_samples": samples, "control": control}
    env = SchedulingVectorEnv(runs, data=data, device=data.splits["train"].x.device, **options)
    env.reset(seed=0)
    return env


def plain_loop(data: MultiTaskDataset, env: SchedulingVectorEnv) -> Call:
    """Return one update of one network in a plain loop, as a function."""
    encoder, heads = env.network.single(0)
    adams = [torch.optim.Adam(module.parameters(), 1e-3) for module in (encoder, *heads)]
    train, random = data.splits["train"], np.random.default_rng(0)
    rows = [torch.where(train.task == task)[0] for task in range(data.num_tasks)]
    size = env.options.minibatch

    def update() -> None:
        task = int(random.integers(data.num_tasks))
        chosen = rows[task][torch.from_numpy(random.integers(len(rows[task]), size=size))]
        logits = heads[task](encoder(data.inputs("train", chosen)))
        cross_entropy(logits[:, : data.num_classes[task]], train.y[chosen]).backward()
        for adam in (adams[0], adams[1 + task]):
            adam.step()
            adam.zero_grad()

    return update


def update_of(env: SchedulingVectorEnv) -> Call:
    """Return one gradient step of all runs without a state, as a function."""
    random, ones = np.random.default_rng(0), np.ones((env.num_envs, 1), np.float32)
    return lambda: env.training.update(random.integers(env.data.num_tasks, size=(env.num_envs, 1)), ones)


def state_of(env: SchedulingVectorEnv) -> Call:
    """Return the state of all runs without an update, as a function."""
    return lambda: env._look()


def step_of(env: SchedulingVectorEnv) -> Call:
    """Return one step of the environment, as a function."""
    random = np.random.default_rng(0)
    if env.chooses:
        return lambda: env.advance(random.integers(env.data.num_tasks, size=env.num_envs))
    weights = np.ones((env.num_envs, env.data.num_tasks), np.float32)
    return lambda: env.advance(weights)


def cost_of_the_state(arguments: argparse.Namespace) -> None:
    """Print table 1: one run."""
    rows = []
    for name in arguments.data:
        data = load(name).to(arguments.device)
        env = environment(data, 1, None)
        ways: dict[str, Call] = {"plain loop": plain_loop(data, env), "update": update_of(env)}
        for n in (*arguments.samples, None):
            env = environment(data, 1, n)
            ways |= {f"state, {n or 'all'}": state_of(env), f"step, {n or 'all'}": step_of(env)}
        timings = alternate(ways, arguments.rounds, arguments.seconds)
        rows += [
            [name, way, *_figures(timing, timings["plain loop"], timings["update"])] for way, timing in timings.items()
        ]
    print("### One run: the cost of the state\n")
    print("A state reads this many samples of each task. Aims: an update at 0.8, a state in 0.5 updates.\n")
    print(table(["data", "way", "per second", "spread", "against the plain loop", "time in updates"], rows), flush=True)


def runs_side_by_side(arguments: argparse.Namespace) -> None:
    """Print table 2: the cost of one of N parallel runs."""
    rows = []
    for name in arguments.data:
        data = load(name).to(arguments.device)
        for control in ("choice", "weights"):
            envs = {n: environment(data, n, arguments.samples[0], control) for n in arguments.runs}
            timings = alternate({n: step_of(env) for n, env in envs.items()}, arguments.rounds, arguments.seconds)
            first = timings[arguments.runs[0]]
            for n, timing in timings.items():
                cheaper = n / arguments.runs[0] * timing.speed_against(first)
                rows.append([name, control, n, 1e3 * timing.median / n, percent(timing.spread), cheaper])
    print(f"\n### N runs side by side, {arguments.samples[0]} validation samples of each task\n")
    print(table(["data", "control", "N", "ms per run and step", "spread", "times cheaper"], rows))


def _figures(timing: Timing, plain: Timing, update: Timing) -> tuple[float, str, float, float]:
    against = timing.speed_against(plain)
    return 1 / timing.median, percent(timing.spread), against, 1 / timing.speed_against(update)


def main(arguments: argparse.Namespace) -> None:
    """Measure and print both tables."""
    begin("Task scheduling", arguments)
    cost_of_the_state(arguments)
    runs_side_by_side(arguments)


if __name__ == "__main__":
    made = parser(__doc__, rounds=7, seconds=0.5)
    made.add_argument("--data", nargs="+", default=["digits"], help="data sets")
    made.add_argument("--samples", type=int, nargs="+", default=[16, 64], help="validation samples per task")
    made.add_argument("--runs", type=int, nargs="+", default=[1, 4, 16, 64], help="parallel runs")
    main(made.parse_args())
