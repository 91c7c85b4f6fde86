"""Compare alignment's rewards: returns and test errors without challengers, with random challengers, and of MUiR.

The decrease of the training loss is largest without sharing; the decrease of the validation loss is largest if related
tasks share.

    python examples/alignment_rewards.py
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np
import torch
from mtl_agents import DecomposedEA, FixedAlignment, RandomAlignment
from mtl_agents.alignment.controls import AlignmentAgent

import mtl_gym
from mtl_gym.families.alignment import REWARDS

AGENTS: dict[str, type[AlignmentAgent]] = {
    "nobody challenges": FixedAlignment,
    "random proposals": RandomAlignment,
    "MUiR": DecomposedEA,
}


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="linear", help="data set")
    parser.add_argument("--seeds", type=int, default=3, help="parallel runs of each line")
    parser.add_argument("--generations", type=int, default=100, help="generations of a run")
    return parser.parse_args()


def line(name: str, args: argparse.Namespace) -> str:
    """Return a line of the table: mean and standard deviation over runs."""
    returns = {reward: np.zeros(args.seeds) for reward in REWARDS}

    def all_at_once(before, after):  # type: ignore[no-untyped-def]
        for reward, function in REWARDS.items():
            returns[reward] += function(before, after)
        return np.zeros(args.seeds)

    options = {"data": args.data, "generations": args.generations, "final_generations": 0, "device": "cpu"}
    env = gym.make_vec("MTLAlignment-Linear-v0", args.seeds, challengers=4, reward=all_at_once, **options)
    agent = AGENTS[name](env, seed=0)
    agent.learn(args.seeds * args.generations)
    rmse = mtl_gym.evaluate(agent, env).figures["rmse"]
    cells = [f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for values in (*returns.values(), rmse)]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = arguments()
    print(f"| who | {' | '.join(f'return, {reward}' for reward in REWARDS)} | test RMSE |")
    print("|---|---|---|---|")
    for who in AGENTS:
        print(line(who, settings), flush=True)
