"""Train a scheduler on four tasks with a known good schedule.

Inputs hide three bits behind a rotation and noise. "pattern" is to classify all three bits, with many samples. "parity"
is to classify whether their sum is odd, with so few samples that a network memorises them unless its encoder already
represents the bits: pattern is its prerequisite. "easy" depends on one strong feature, learned in a few steps. "noise"
has random labels, and training on it is harmful.

    python examples/learned_schedule.py
    python examples/learned_schedule.py --seeds 3 --runs 6400 --picture schedule.png
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
import torch
from mtl_agents import Greedy, PaperQLS, Random, Uniform
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import Split
from mtl_gym.families.scheduling import Progress, SchedulingVectorEnv, SharedNetwork
from mtl_gym.families.scheduling.render import timeline
from mtl_gym.lab.statistics import Estimate

TASKS = ("pattern", "parity", "easy", "noise")
# Best plan of a local search by validation accuracy: a lower bound on the best schedule.
BEST = ["pattern", "pattern", "parity", "parity", "parity", "easy"]
BEST += ["pattern", "pattern", "parity", "easy", "parity", "parity"]
PLANS = {
    "parity alone": ["parity"],
    "parity, then pattern": ["parity", "pattern"],
    "pattern, then parity": ["pattern", "parity"],
    "best plan known": BEST,
}
INPUTS, BITS = 24, 3


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    runs: Annotated[int, "Training runs in which QLS learns to schedule."] = 3_200
    num_envs: Annotated[int, "Parallel training runs."] = 64
    updates: Annotated[int, "Gradient steps per run; ten per decision."] = 120
    seed: Annotated[int, "First seed of agents and networks."] = 0
    seeds: Annotated[int, "Number of consecutive seeds, each with its own training."] = 1
    picture: Annotated[Path, "Picture of the timeline of QLS with the last seed."] = Path("schedule.png")


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


def samples(task: str, count: int, rotation: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw inputs [count, INPUTS] and labels [count] of a task."""
    bits, loud = rng.integers(2, size=(count, BITS)), rng.integers(2, size=count)
    x = rng.normal(size=(count, INPUTS))
    x[:, :BITS] = 1.5 * (2 * bits - 1) + 0.3 * x[:, :BITS]
    x[:, BITS] = 3.0 * (2 * loud - 1)
    labels = {
        "pattern": bits @ [1, 2, 4],
        "parity": bits.sum(1) % 2,
        "easy": loud,
        "noise": rng.integers(2, size=count),
    }
    return x @ rotation, labels[task]


def four_tasks() -> MultiTaskDataset:
    """Return the data set: 1,000 training samples of pattern and easy, 192 of parity and noise; equal for all seeds."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(INPUTS, INPUTS)))[0]

    def split(*sizes: int) -> Split:
        parts = [samples(task, size, rotation, rng) for task, size in zip(TASKS, sizes, strict=True)]
        x, y = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
        return Split(x.float(), torch.arange(len(TASKS)).repeat_interleave(torch.tensor(sizes)), y)

    splits = {"train": split(1000, 192, 1000, 192), "validation": split(*[100] * 4), "test": split(*[300] * 4)}
    classes = [[f"{number:03b}" for number in range(8)], ["even", "odd"], ["low", "high"], ["heads", "tails"]]
    return MultiTaskDataset("four-tasks", splits, TASKS, tuple(map(tuple, classes)))


class Plan:
    """A fixed schedule: one task for each equal part of a run."""

    def __init__(self, tasks: list[str]) -> None:
        self.tasks = np.array([TASKS.index(task) for task in tasks])

    def predict(self, obs: Any, *, progress: Progress, **rest: Any) -> tuple[np.ndarray, None]:
        """Return the current task of each run; `evaluate` passes the progress of the runs."""
        return self.tasks[progress.updates * len(self.tasks) // args.updates], None


def environment() -> SchedulingVectorEnv:
    """Return the environment on the four tasks, with ten gradient steps per decision."""
    encoder = nn.Sequential(nn.Linear(INPUTS, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    return SchedulingVectorEnv(
        args.num_envs,
        data=four_tasks(),
        network=SharedNetwork(encoder, nn.Linear(32, 8)),
        updates=args.updates,
        updates_per_step=10,
        learning_rate=1e-2,
        reference=None,
    )


def trained(env: SchedulingVectorEnv, seed: int) -> PaperQLS:
    """Return a QLS scheduler trained in an environment."""
    qls = PaperQLS(
        env,
        gamma=0.9,
        learning_rate=1e-3,
        gradient_steps=8,
        batch_size=128,
        target_update_interval=10 * args.num_envs,
        initial_temperature=0.3,
        final_temperature=0.003,
        seed=seed,
    )
    return qls.learn(args.runs * args.updates // 10)


def results(seed: int) -> dict[str, mtl_gym.Evaluation]:
    """Return the test results of every schedule by name, qls-paper last."""
    env = environment()
    qls = trained(env, seed)
    rules = {"uniform": Uniform, "random": Random, "greedy": Greedy}
    schedules = {name: Plan(tasks) for name, tasks in PLANS.items()}
    schedules |= {name: rule(env, seed=seed) for name, rule in rules.items()} | {"qls-paper": qls}
    return {name: mtl_gym.evaluate(schedule, env, "test") for name, schedule in schedules.items()}


def percent(found: list[mtl_gym.Evaluation]) -> np.ndarray:
    """Return the accuracies of seeds [seeds, tasks] in %."""
    return 100 * np.array([result.accuracy for result in found])


def line(name: str, found: list[mtl_gym.Evaluation]) -> str:
    """Return a line of the table: means over seeds, and mean ± deviation over all tasks but noise."""
    accuracy = percent(found)
    trained = np.sum([result.figures["timeline"].trained.sum((0, 1)) for result in found], 0)
    pairs = zip(accuracy.mean(0), 100 * trained / trained.sum(), strict=True)
    cells = "".join(f"{f'{right:.1f} ({share:2.0f})':>13}" for right, share in pairs)
    overall = accuracy[:, :3].mean(1)
    spread = f" ± {overall.std(ddof=1):.1f}" if len(found) > 1 else ""
    return f"{name:<22}{cells}{f'{overall.mean():.1f}{spread}':>14}"


args = from_command_line()
logging.getLogger("mtl_gym").setLevel(logging.ERROR)
found = [results(seed) for seed in range(args.seed, args.seed + args.seeds)]
print(
    f"Test accuracy in %, mean over {args.seeds} x {args.num_envs} runs of {args.updates} updates; "
    "in brackets the share of the updates\n"
)
print(f"{'schedule':<22}" + "".join(f"{task:>13}" for task in TASKS) + f"{'but noise':>14}")
for name in found[0]:
    print(line(name, [results[name] for results in found]))

apart = [percent([results[name] for results in found])[:, :3].mean(1) for name in ("qls-paper", "uniform")]
print(f"\nqls-paper minus uniform without noise, with its 95% interval: {Estimate.of_mean(apart[0] - apart[1])} points")

last = found[-1]["qls-paper"].figures["timeline"]
print("\nShare of each task in every decision of qls-paper, in %")
for task, shares in zip(TASKS, last.shares.T, strict=True):
    print(f"{task:<8}" + "".join(f"{100 * share:>5.0f}" for share in shares))
timeline(last, TASKS, f"QLS after {args.runs:,} runs, seed {args.seed + args.seeds - 1}").savefig(args.picture)
print(f"wrote {args.picture}")
