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
from mtl_agents.oracle import Oracle

import mtl_gym
from mtl_gym.families.routing.grouped import GroupedVectorEnv, same_partition


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    id: Annotated[str, "Environment with hidden groups."] = "MTLRouting-GroupedDigits-v0"
    instance: Annotated[int, "Number of the hidden truth."] = 0
    samples: Annotated[int, "Training samples of one training."] = 40_000


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


def main(arguments: Arguments) -> None:
    """Recommend groups and print them beside the truth."""
    env = make(arguments)
    found = mtl_gym.recommend_groups(env.data, samples=arguments.samples)
    print(found)
    best = [oracle(arguments, seed) for seed in range(3)]
    are = "are" if same_partition(found.recommended, env.groups) else "are not"
    print(f"These {are} the true groups. Trained by those, the oracle reaches {np.mean(best):.2f}%.")


if __name__ == "__main__":
    main(from_command_line())
