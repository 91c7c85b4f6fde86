"""Train a learned router and its control on digits, compare them, and draw the learned routes.

The weighted policy learner (WPL) of the routing-networks paper chooses a block for every input at every depth, and the
same steps train the network. The control draws one random route per task before training and keeps it: a router that
is not better has learned no useful routing.

    python examples/quickstart.py
    python examples/quickstart.py --steps 300000 --seed 1 --picture map.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import gymnasium as gym
from mtl_agents import WPL, RandomFixed

import mtl_gym
from mtl_gym.families.routing import routing_map


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    env_id: Annotated[str, "Environment id; `mtl-gym list` shows all ids."] = "MTLRouting-Digits-v0"
    steps: Annotated[int, "Total decisions per agent over all rows; an input takes three."] = 150_000
    num_envs: Annotated[int, "Parallel episodes; also the minimum number of episodes per update."] = 64
    seed: Annotated[int, "Seed of the network, the data order and the agent."] = 0
    picture: Annotated[Path, "File of WPL's routing map."] = Path("routing_map.png")


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


args = from_command_line()
results = {}
for agent_class in (WPL, RandomFixed):
    # Each agent has its own environment and network; equal seeds give equal initial networks.
    env = gym.make_vec(args.env_id, num_envs=args.num_envs)
    agent = agent_class(env, seed=args.seed)
    agent.learn(args.steps)
    results[agent_class.__name__] = mtl_gym.evaluate(agent, env, split="test")
    env.close()

print(f"{args.env_id}, {args.steps:,} decisions, seed {args.seed}: accuracy on the test split, in %\n")
print(f"{'task':<12}" + "".join(f"{name:>13}" for name in results))
for task, name in enumerate(results["WPL"].task_names):
    print(f"{name:<12}" + "".join(f"{100 * result.accuracy[task]:>13.1f}" for result in results.values()))
print(f"{'mean':<12}" + "".join(f"{100 * result.mean_accuracy:>13.2f}" for result in results.values()))
print(f"{'blocks used':<12}" + "".join(f"{result.figures['blocks_used']:>13}" for result in results.values()))
print("\nOne seed decides nothing: `mtl-gym compare` runs several and gives their spread.")

title = f"WPL on {args.env_id}, seed {args.seed}, {args.steps:,} decisions"
routing_map(results["WPL"].figures["usage"], results["WPL"].task_names, title).savefig(args.picture)
print(f"wrote {args.picture}")
