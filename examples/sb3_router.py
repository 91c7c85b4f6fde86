"""Train Stable-Baselines3 and sb3-contrib algorithms as routers.

PPO and MaskablePPO act in the batched environment. PPO ignores masks, so it has to learn that PASS is invalid at the
last depth; MaskablePPO never chooses it. DQN uses Gymnasium's interface with one episode at a time and a flat
observation. All three observe the activations of the network, whereas the paper's tables observe task and depth.

The tasks are pairs of digits: 0 or 1, 2 or 3, and so on. The input itself identifies its task, so the network can learn
while the router still chooses at random. The one-vs-rest tasks of `MTLRouting-Digits-v0` are much harder with long
exploration: all tasks share the same images, so only different routes can separate them.

    python examples/sb3_router.py
    python examples/sb3_router.py --steps 300000 --dqn-steps 50000
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Annotated, get_args, get_type_hints

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import FlattenObservation
from sb3_contrib import MaskablePPO
from sklearn.datasets import load_digits
from stable_baselines3 import DQN, PPO

import mtl_gym
from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.data import MultiTaskDataset
from mtl_gym.integrations.sb3 import make_vec_env


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    steps: Annotated[int, "Total decisions of PPO and of MaskablePPO over all rows."] = 30_000
    dqn_steps: Annotated[int, "Decisions of DQN, in a single row."] = 6_000
    num_envs: Annotated[int, "Parallel episodes of PPO and MaskablePPO."] = 16
    rollout: Annotated[int, "Decisions per row between two updates of PPO and MaskablePPO."] = 128
    batch_size: Annotated[int, "Decisions per gradient step of PPO and MaskablePPO; divides a rollout of all rows."] = (
        256
    )
    seed: Annotated[int, "Seed of the network, the data order and the algorithm."] = 0


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


def pairs_of_digits() -> MultiTaskDataset:
    """Return five tasks from scikit-learn's digits, each to classify two consecutive digits."""
    pixels, digits = load_digits(return_X_y=True)
    tasks = {f"{low} or {low + 1}": np.isin(digits, (low, low + 1)) for low in range(0, 10, 2)}
    tables = {name: (pixels[rows], digits[rows] % 2) for name, rows in tasks.items()}
    return MultiTaskDataset.from_tasks("pairs-of-digits", tables)


def report(algorithm: PPO | MaskablePPO | DQN, env: MultiTaskVectorEnv) -> None:
    """Print one line of the table: the evaluation of the algorithm's routes through its trained network."""
    result = mtl_gym.evaluate(algorithm, env, split="test")
    figures = f"{100 * result.mean_accuracy:>12.2f}{result.mean_loss:>8.3f}{result.figures['blocks_used']:>13}"
    print(f"{type(algorithm).__name__:<14}{algorithm.num_timesteps:>10,}{env.updates:>9,}{figures}")


args = from_command_line()
data = pairs_of_digits()
print(data)
print(f"\n{'algorithm':<14}{'decisions':>10}{'updates':>9}{'accuracy %':>12}{'loss':>8}{'blocks used':>13}")

# n_steps counts decisions per row. SB3's default, 2,048, suits one row; with 16 rows updates would be 16 times rarer.
rollout = {"n_steps": args.rollout, "batch_size": args.batch_size}
for algorithm_class in (PPO, MaskablePPO):
    vec_env = make_vec_env("MTLRouting-Digits-v0", args.num_envs, data=data)
    model = algorithm_class("MultiInputPolicy", vec_env, seed=args.seed, device="cpu", **rollout)
    model.learn(args.steps)
    report(model, vec_env.batched)

single = gym.make("MTLRouting-Digits-v0", data=data)
dqn = DQN("MlpPolicy", FlattenObservation(single), learning_starts=200, seed=args.seed, device="cpu")
dqn.learn(args.dqn_steps)
report(dqn, single.unwrapped.batched)
