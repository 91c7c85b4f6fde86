"""Find the hidden groups of two benchmarks with `recommend_groups`, and compare with training by the true groups.

python examples/which_tasks_share.py
python examples/which_tasks_share.py --id MTLRouting-Groups-v0 --instance 7
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Annotated, get_args, get_type_hints

import gymnasium as gym
import numpy as np
import torch
from mtl_agents.oracle import Oracle

import mtl_gym
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.routing.grouped import GroupedVectorEnv, same_partition
from mtl_gym.lab.statistics import Estimate
from mtl_gym.recommend.training import Setup, default_body


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    id: Annotated[str, "Environment with hidden groups."] = "MTLRouting-GroupedDigits-v0"
    instance: Annotated[int, "Number of the hidden truth."] = 0
    samples: Annotated[int, "Training samples of one training."] = 40_000
    data: Annotated[str, "Name of a data set, in place of the environment's."] = ""
    each: Annotated[int, "Training samples of each class of each task of this data set."] = 40
    fresh: Annotated[int, "Seeds that confirm the groups found in this data set."] = 0


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, text = get_args(hint)
        parser.add_argument(f"--{name}", type=kind, default=getattr(Arguments, name), help=text)
    return Arguments(**vars(parser.parse_args()))


def make(arguments: Arguments) -> GroupedVectorEnv:
    """Return the environment, which has the data set and the true groups."""
    env = gym.make_vec(arguments.id, num_envs=64, instance=arguments.instance).unwrapped
    assert isinstance(env, GroupedVectorEnv)
    return env


def oracle(arguments: Arguments, seed: int) -> float:
    """Return the test accuracy of training by the true groups, in per cent."""
    env = make(arguments)
    return mtl_gym.evaluate(Oracle(env, seed=seed).learn(arguments.samples), env).figure


def with_few_samples(data: MultiTaskDataset, each: int) -> MultiTaskDataset:
    """Return a data set that keeps `each` training samples of each class of each task, drawn at random."""
    train = data.split("train")
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    kind = (train.task * data.max_classes + train.y)[drawn]
    kept = torch.cat([drawn[kind == number][:each] for number in kind.unique()]).sort().values
    splits = {**data.splits, "train": Split(train.x[kept], train.task[kept], train.y[kept])}
    name = f"{data.name}, {each} of each class"
    return MultiTaskDataset(name, splits, data.task_names, data.class_names, data.mean, data.std, data.vocabulary)


def confirm(found: mtl_gym.Recommendation, setup: Setup, seeds: int) -> None:
    """Train by the groups found, and otherwise, for seeds that had no part in finding them; print the differences."""
    tasks = len(found.group)
    reached: dict[str, list[float]] = {}
    for seed in range(10, 10 + seeds):
        shuffled = np.random.default_rng(seed).permutation(found.group)  # groups of the same sizes
        others = {"separate": np.arange(tasks), "shared": np.zeros(tasks, int), "random groups": shuffled}
        for name, group in {"found groups": found.group, **others}.items():
            reached.setdefault(name, []).append(setup.train(group, seed).accuracy("test"))
    for name, figures in reached.items():
        less = "" if name == "found groups" else f", found groups minus it: {minus(reached['found groups'], figures)}"
        print(f"seeds 10 to {9 + seeds}, {name}: {np.mean(figures):.2f}%{less}")


def minus(figures: list[float], others: list[float]) -> Estimate:
    """Return the mean difference, paired by seed, with Student's 95% interval."""
    return Estimate.of_mean(np.subtract(figures, others).tolist())


def main(arguments: Arguments) -> None:
    """Recommend groups and print them, beside the truth where it is known."""
    if arguments.data:
        few = with_few_samples(mtl_gym.load(arguments.data), arguments.each)
        found = mtl_gym.recommend_groups(few, samples=arguments.samples)
        print(found)
        confirm(found, Setup(few, arguments.samples, default_body(hidden=32)), arguments.fresh)
        return
    env = make(arguments)
    found = mtl_gym.recommend_groups(env.data, samples=arguments.samples)
    print(found)
    best = [oracle(arguments, seed) for seed in range(3)]
    are = "are" if same_partition(found.recommended, env.groups) else "are not"
    print(f"These {are} the true groups. Trained by those, the oracle reaches {np.mean(best):.2f}%.")


if __name__ == "__main__":
    main(from_command_line())
