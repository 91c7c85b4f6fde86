"""Reproduce table 2 of MUiR, a synthetic benchmark: thirty linear regressions in three hidden groups.

All lines of the table use the same environment; they differ in agent, initial assignment, and generation of weights.
The runs of a line, one per seed, train in parallel. `--contexts` repeats table 7 here: a line per context size c.

    python examples/alignment_table.py
    python examples/alignment_table.py --data generated-linear --seeds 3 --generations 100
    python examples/alignment_table.py --data linear --methods MUiR --contexts 0 1 2 4 8 --seeds 3
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from mtl_agents import DecomposedEA, FixedAlignment, RandomAlignment

import mtl_gym
from mtl_gym.core.evaluation import Evaluation

ENV_ID = "MTLAlignment-Linear-v0"
EXACT = {"context": 0, "start": "hierarchical"}
METHODS: dict[str, tuple[type[FixedAlignment | RandomAlignment | DecomposedEA], dict[str, Any]]] = {
    "single task": (FixedAlignment, {"context": 0}),
    "classical sharing": (FixedAlignment, EXACT),
    "parallel adapters": (FixedAlignment, {**EXACT, "adapter": 1}),
    "random proposals": (RandomAlignment, {"challengers": 4}),
    "MUiR, random selection": (DecomposedEA, {"challengers": 4, "selection": "random"}),
    "MUiR, oracle": (FixedAlignment, {"start": "oracle"}),
    "MUiR": (DecomposedEA, {"challengers": 4}),
}
# Results in table 2 of the paper.
PAPER = {
    "linear": {
        "single task": "1.35 ± 0.01",
        "MUiR, random selection": "1.26 ± 0.04",
        "MUiR, oracle": "0.77 ± 0.77",
        "MUiR": "0.00 ± 0.00",
    },
    "linear-noisy": {
        "single task": "1.49 ± 0.01",
        "MUiR, random selection": "4.67 ± 1.48",
        "MUiR, oracle": "0.37 ± 0.00",
        "MUiR": "0.38 ± 0.00",
    },
}


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = ["linear", "linear-noisy", "generated-linear", "generated-linear-noisy"]
    parser.add_argument("--data", nargs="+", default=data, help="data sets")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), help="lines of the table")
    parser.add_argument("--seeds", type=int, default=5, help="runs per line")
    parser.add_argument("--seed", type=int, default=0, help="seed of all runs")
    parser.add_argument("--generations", type=int, default=300, help="generations with challengers")
    parser.add_argument("--final", type=int, default=200, help="generations of final training")
    parser.add_argument("--iterations", type=int, default=100, help="gradient steps per generation")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1], help="context sizes c of methods with contexts")
    parser.add_argument("--picture", help="prefix of the pictures of MUiR's first run on each data set")
    return parser.parse_args()


def train(method: str, data: str, context: int, args: argparse.Namespace) -> tuple[Evaluation, Any]:
    """Train the runs of one line; return their evaluation on the test samples and the environment."""
    agent_class, options = METHODS[method]
    options = {"generations": args.generations, "final_generations": args.final, "context": context, **options}
    env = gym.make_vec(ENV_ID, args.seeds, data=data, iterations=args.iterations, device="cpu", **options)
    agent = agent_class(env, seed=args.seed)
    agent.learn(args.seeds * args.generations)
    return mtl_gym.evaluate(agent, env), env.unwrapped


def line(method: str, data: str, context: int, args: argparse.Namespace) -> str:
    """Return a line of the table."""
    start = time.perf_counter()
    result, env = train(method, data, context, args)
    rmse, used, found = (result.figures[name] for name in ("rmse", "modules_used", "groups_found"))
    if args.picture and method == "MUiR":
        for name, figure in env.pictures(result.figures, data).items():
            figure.savefig(f"{args.picture}-{data}-{name}")
    modules = " ".join(map(str, used))
    paper = PAPER.get(data, {}).get(method, "") if context == 1 else ""
    seconds = time.perf_counter() - start
    spread = np.std(rmse, ddof=1) if len(rmse) > 1 else 0.0
    return (
        f"| {method:22} | {env.options.context} | {rmse.mean():.3f} ± {spread:.3f} | {rmse.max():.3f} | {modules:14} | "
        f"{found.sum()} of {len(found)} | {paper:11} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = arguments()
    for name in settings.data:
        print(f"\n### {name}\n")
        print(f"| {'method':22} | c | test RMSE | worst | modules in use | groups found | paper | seconds |")
        print("|---|---|---|---|---|---|---|---|")
        for method_name in settings.methods:
            contexts = [0] if "context" in METHODS[method_name][1] else settings.contexts
            for size in contexts:
                print(line(method_name, name, size, settings), flush=True)
