"""LeNet on pictures, a stacked LSTM on words, a DeepBind-style network on DNA: MUiR's table 3 made again, small.

Each task alone with its own weights, with MUiR within its own architecture, in pairs, and all three together; and the
rivals of the paper's table 6 on all three. The networks are small and are trained for as long as you say, so lines are
to be compared with each other and not with the paper's.

    python examples/alignment_cross_modal.py --generations 30
    python examples/alignment_cross_modal.py --generations 300 --width paper --methods baseline intratask all
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from mtl_agents import DecomposedEA, FixedAlignment

import mtl_gym

TASKS = ("vision", "text", "dna")
DIGITS = {"vision": 1, "text": 1, "dna": 3}
METHODS: dict[str, tuple[type[FixedAlignment | DecomposedEA], dict[str, Any], int]] = {
    "baseline": (FixedAlignment, {"context": 0}, 1),
    "intratask": (DecomposedEA, {}, 1),
    "pairs": (DecomposedEA, {}, 2),
    "all": (DecomposedEA, {}, 3),
    "classical sharing": (FixedAlignment, {"context": 0, "start": "hierarchical"}, 3),
    "parallel adapters": (FixedAlignment, {"context": 0, "start": "hierarchical", "adapter": 1}, 3),
}


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--generations", type=int, default=30, help="of a run")
    parser.add_argument("--iterations", type=int, default=100, help="gradient steps in a generation")
    parser.add_argument("--width", default="small", choices=["small", "paper"], help="of the networks")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each line, with the seeds 0, 1, ...")
    parser.add_argument("--picture", help="where to draw how layers and tasks share in the first run of every line")
    return parser.parse_args()


def train(method: str, tasks: Sequence[str], seed: int, args: argparse.Namespace) -> dict[str, float]:
    """A run: classification error in %, perplexity, squared error, modules in use and modules at first."""
    agent_class, options, _ = METHODS[method]
    options = {"generations": args.generations, "iterations": args.iterations, "width": args.width, **options}
    env = gym.make_vec("MTLAlignment-CrossModal-v0", 1, tasks=list(tasks), **options)
    agent = agent_class(env, seed=seed)
    agent.learn(args.generations)
    result = mtl_gym.evaluate(agent, env)
    if args.picture and seed == 0 and len(tasks) > 1:
        for name, figure in env.unwrapped.pictures(result.figures, f"{method}: {', '.join(tasks)}").items():
            figure.savefig(f"{args.picture}-{method.replace(' ', '-')}-{'-'.join(tasks)}-{name}")
    measures = {"vision": lambda loss, right: 100 * (1 - right), "text": lambda loss, _: np.exp(loss)}
    figures = zip(result.task_names, result.loss, result.accuracy, strict=True)
    found = {name: float(measures.get(name, lambda loss, _: loss)(loss, right)) for name, loss, right in figures}
    used = float(result.figures["modules_used"][0])
    return {"used": used, "modules": env.unwrapped.network.num_modules, **found}


def line(method: str, tasks: Sequence[str], args: argparse.Namespace) -> str:
    """A line of the table: mean and standard deviation over seeds."""
    runs = [train(method, tasks, seed, args) for seed in range(args.seeds)]
    cells = [spread([run[task] for run in runs], DIGITS[task]) if task in tasks else "-" for task in TASKS]
    used = f"{np.mean([run['used'] for run in runs]):.0f} of {runs[0]['modules']}"
    return f"| {method} | {' + '.join(tasks)} | {' | '.join(cells)} | {used} |"


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = arguments()
    print("| method | tasks | LeNet, error in % | LSTM, perplexity | DeepBind, squared error | modules in use |")
    print("|---|---|---|---|---|---|")
    for name in settings.methods:
        for chosen in combinations(TASKS, METHODS[name][2]):
            print(line(name, chosen, settings), flush=True)
