"""Stable-Baselines3 and sb3-contrib algorithms as routers.

PPO and MaskablePPO act in the batched environment. PPO knows no masks, so it has to find out that PASS is no answer at
the last depth; MaskablePPO is never offered it. DQN takes Gymnasium's own path: one episode at a time, and a flat
observation. All of them see the values that travel through the network, where the paper's tables see task and depth.

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
from stable_baselines3 import DQN, PPO

import mtl_gym
from mtl_gym.integrations.sb3 import make_vec_env


@dataclass(frozen=True)
class Arguments:
    """What can be set on the command line."""

    env_id: Annotated[str, "The environment; `mtl-gym list` shows all of them."] = "MTLRouting-Digits-v0"
    steps: Annotated[int, "Decisions of PPO and of MaskablePPO, counted over all rows."] = 80_000
    dqn_steps: Annotated[int, "Decisions of DQN, which makes them one by one."] = 6_000
    num_envs: Annotated[int, "Episodes side by side for PPO and MaskablePPO."] = 16
    rollout: Annotated[int, "Decisions of each row between two updates of PPO and MaskablePPO."] = 128
    batch_size: Annotated[int, "Decisions per gradient step of PPO and MaskablePPO; divides a rollout of all rows."] = (
        256
    )
    seed: Annotated[int, "Seeds the network, the order of the data and the algorithm."] = 0


def from_command_line() -> Arguments:
    """The arguments, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


args = from_command_line()
print(f"{args.env_id}, seed {args.seed}: test split\n")
print(f"{'algorithm':<14}{'decisions':>10}{'updates':>9}{'accuracy %':>12}{'loss':>8}")


def report(algorithm: PPO | MaskablePPO | DQN, env: mtl_gym.vector.MultiTaskVectorEnv) -> None:
    """One line of the table: the routes that the algorithm takes now, over the network it has trained."""
    result = mtl_gym.evaluate(algorithm, env, split="test")
    figures = (
        f"{algorithm.num_timesteps:>10,}{env.updates:>9,}{100 * result.mean_accuracy:>12.2f}{result.mean_loss:>8.3f}"
    )
    print(f"{type(algorithm).__name__:<14}{figures}")


# n_steps is per row. SB3's default, 2,048, is meant for one row; with 16 rows it would learn 16 times less often.
rollout = {"n_steps": args.rollout, "batch_size": args.batch_size}
for algorithm_class in (PPO, MaskablePPO):
    vec_env = make_vec_env(args.env_id, args.num_envs)
    model = algorithm_class("MultiInputPolicy", vec_env, seed=args.seed, device="cpu", **rollout)
    model.learn(args.steps)
    report(model, vec_env.batched)

single = gym.make(args.env_id)
dqn = DQN("MlpPolicy", FlattenObservation(single), learning_starts=200, seed=args.seed, device="cpu")
dqn.learn(args.dqn_steps)
report(dqn, single.unwrapped.batched)

answers = single.unwrapped.batched.data.split("test").y.numpy()
print(f"\nAlways giving the commonest answer would reach {100 * np.bincount(answers).max() / len(answers):.2f}%.")
