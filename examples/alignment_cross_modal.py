"""Reproduce MUiR's table 3 at small scale: LeNet on images, a stacked LSTM on words, a DeepBind-style network on DNA.

Methods: each task alone with its own weights; with contexts but without challengers; with MUiR within its own
architecture; in pairs; all three together; and the baselines of the paper's table 6 on all three. Each line has its own
learning rate, the best on the validation samples in a run with another seed. The networks are small and their training
is short, so compare lines with each other, not with the paper. `--context` reproduces the lines of the paper's table 7.
`--vision wide-resnet` puts a wide residual network in the place of LeNet.

    python examples/alignment_cross_modal.py --methods baseline contexts intratask all
    python examples/alignment_cross_modal.py --methods all --context 8
    python examples/alignment_cross_modal.py --vision wide-resnet --methods baseline intratask all
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
from mtl_gym.data import load
from mtl_gym.families.alignment import wide_resnet

DATA = "cross-modal"
TASKS = ("vision", "text", "dna")
DIGITS = {"vision": 1, "text": 1, "dna": 3}
# Layers of the networks beside a wide residual network that are not generated, as by default.
KEPT = {"vision": ["conv", "fc"], "text": [], "dna": ["fc2"]}
METHODS: dict[str, tuple[type[FixedAlignment | DecomposedEA], dict[str, Any], int]] = {
    "baseline": (FixedAlignment, {"context": 0}, 1),
    "contexts": (FixedAlignment, {}, 1),
    "intratask": (DecomposedEA, {}, 1),
    "pairs": (DecomposedEA, {}, 2),
    "all": (DecomposedEA, {}, 3),
    "hierarchical start": (DecomposedEA, {"start": "hierarchical"}, 3),
    "classical sharing": (FixedAlignment, {"context": 0, "start": "hierarchical"}, 3),
    "parallel adapters": (FixedAlignment, {"context": 0, "start": "hierarchical", "adapter": 1}, 3),
}


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--generations", type=int, default=20, help="generations of a run")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 5e-3, 1e-2], help="candidate learning rates")
    parser.add_argument("--tuning-generations", type=int, default=10, help="generations of a tuning run")
    parser.add_argument("--tuning-seed", type=int, default=100, help="seed of the tuning runs")
    parser.add_argument("--context", type=int, default=4, help="context size c of methods with contexts")
    parser.add_argument("--iterations", type=int, default=100, help="gradient steps per generation")
    parser.add_argument("--vision", default="lenet", choices=["lenet", "wide-resnet"], help="network of the pictures")
    parser.add_argument("--width", default="small", choices=["small", "paper"], help="width of the networks")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each line, with seeds 0, 1, ...")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="lines with any of these tasks")
    parser.add_argument("--picture", help="prefix of the sharing pictures of the first run of every line")
    return parser.parse_args()


def run(
    method: str, tasks: Sequence[str], seed: int, rate: float, generations: int, args: argparse.Namespace
) -> tuple[Any, Any]:
    """Return the agent and the environment after one run."""
    agent_class, options, _ = METHODS[method]
    options = {"context": args.context, "iterations": args.iterations, "width": args.width, **options}
    options |= {"generations": generations, "learning_rate": rate}
    if args.vision == "wide-resnet":
        networks = {"small": wide_resnet.small, "paper": wide_resnet.paper}
        options |= {"network": networks[args.width], "keep": [KEPT[task] for task in tasks]}
    env = gym.make_vec("MTLAlignment-CrossModal-v0", 1, tasks=list(tasks), **options)
    agent = agent_class(env, seed=seed)
    agent.learn(generations)
    return agent, env


def best_rate(method: str, tasks: Sequence[str], args: argparse.Namespace) -> float:
    """Return the learning rate with the lowest relative validation loss."""
    if len(args.rates) == 1:
        return args.rates[0]
    runs = {rate: run(method, tasks, args.tuning_seed, rate, args.tuning_generations, args)[1] for rate in args.rates}
    return min(runs, key=lambda rate: runs[rate].unwrapped.shown.best.score[0])


def train(method: str, tasks: Sequence[str], seed: int, rate: float, args: argparse.Namespace) -> dict[str, float]:
    """Train one run; return error in %, perplexity, squared error, and used and initial modules."""
    agent, env = run(method, tasks, seed, rate, args.generations, args)
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
    """Return a line of the table: mean and standard deviation over seeds."""
    rate = best_rate(method, tasks, args)
    runs = [train(method, tasks, seed, rate, args) for seed in range(args.seeds)]
    cells = [spread([run[task] for run in runs], DIGITS[task]) if task in tasks else "-" for task in TASKS]
    used = f"{np.mean([run['used'] for run in runs]):.0f} of {runs[0]['modules']}"
    return f"| {method} | {' + '.join(tasks)} | {rate:g} | {' | '.join(cells)} | {used} |"


def line_without_inputs() -> str:
    """Return the line of baselines from training labels: largest class, unigram, mean."""
    vision, text, dna = ({split: task.splits[split][1] for split in ("train", "test")} for task in load(DATA).tasks)
    error = 100 * (vision["test"] != vision["train"].mode().values).float().mean()
    counts = torch.bincount(text["train"].flatten(), minlength=int(text["test"].max()) + 1) + 1.0
    perplexity = (counts / counts.sum()).log()[text["test"].flatten()].mean().neg().exp()
    variance = (dna["test"] - dna["train"].mean()).square().mean()
    cells = [
        f"{value:.{digits}f}" for value, digits in zip((error, perplexity, variance), DIGITS.values(), strict=True)
    ]
    return f"| largest class, unigram, mean | each | - | {' | '.join(cells)} | - |"


def spread(values: Sequence[float], digits: int) -> str:
    """Return mean ± standard deviation as text."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = arguments()
    vision = {"lenet": "LeNet", "wide-resnet": "WRN"}[settings.vision]
    measured = f"{vision}, error in % | LSTM, perplexity | DeepBind, squared error | modules in use"
    print(f"| method | tasks | learning rate | {measured} |")
    print("|---|---|---|---|---|---|---|")
    print(line_without_inputs(), flush=True)
    for name in settings.methods:
        for chosen in combinations(TASKS, METHODS[name][2]):
            if set(chosen) & set(settings.tasks):
                print(line(name, chosen, settings), flush=True)
