"""Read finished MUiR runs: losses and parameters as in the paper's table 5, weights of modules as in its table 4.

Table 5 has a line per agent of a comparison, with mean and standard deviation over seeds; perplexity is exp(loss).
Table 4 compares the weights of modules with more than c locations with those of all others: the median of each
statistic, generic / specific, and the p-value of a two-tailed Mann-Whitney test.

    mtl-gym compare --settings examples/experiments/alignment-awd-lstm.yaml --out runs/awd-lstm
    python examples/alignment_runs.py runs/awd-lstm
    python examples/alignment_runs.py runs/awd-lstm --weights muir
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import mannwhitneyu

import mtl_gym
from mtl_gym.families.alignment import awd_lstm  # noqa: F401  # runs refer to it, and files never import
from mtl_gym.families.alignment.compression import count_parameters
from mtl_gym.families.alignment.generality import STATISTICS, genericity
from mtl_gym.families.alignment.history import modules_used
from mtl_gym.lab.run import restore


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="folder of a finished comparison")
    parser.add_argument("--weights", help="agent whose runs are compared as in table 4")
    return parser.parse_args()


def finished(agent: Path) -> list[Path]:
    """Return the folders of an agent's finished runs."""
    return sorted(path.parent for path in agent.glob("seed-*/result.json"))


def measured(run: Path) -> dict[str, float]:
    """Return validation and test perplexity of one run, parameters in blocks, and modules in use and in all."""
    _, vec_env, agent = restore(run)
    env = vec_env.batched
    losses = {split: mtl_gym.evaluate(agent, env, split=split).mean_loss for split in ("validation", "test")}
    return {**{split: float(np.exp(loss)) for split, loss in losses.items()}, **sizes(best(env))}


def best(env: Any) -> Any:
    """Return the joint model with the weights that were best on the validation samples."""
    env.network.load_state_dict(env.shown.best.state)
    return env.network


def sizes(joint: Any) -> dict[str, float]:
    """Return parameters in generated blocks, after compression, modules in use, and all modules."""
    used = modules_used(joint.assignment.cpu().numpy())
    return {"parameters": count_parameters(joint)[0], "used": used[0], "modules": joint.num_modules}


def line(agent: Path) -> str:
    """Return a line of table 5."""
    runs = [measured(run) for run in finished(agent)]
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    cells = [spread(columns[split]) for split in ("validation", "test")]
    used = f"{np.mean(columns['used']):.0f} of {columns['modules'][0]}"
    return f"| {agent.name} | {' | '.join(cells)} | {np.mean(columns['parameters']):,.0f} | {used} | {len(runs)} |"


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation as text."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.2f}"


def weights(run: Path) -> list[str]:
    """Return the lines of table 4 for one run."""
    _, vec_env, _ = restore(run)
    lines = []
    for name, part in genericity(best(vec_env.batched)).items():
        cells = [cell(*part.compare(statistic)) for statistic in STATISTICS]
        count = f"{int(part.generic.sum())} / {int((~part.generic).sum())}"
        lines.append(f"| {run.name} | {name} | {count} | {' | '.join(cells)} |")
    return lines


def cell(generic: np.ndarray, specific: np.ndarray) -> str:
    """Return medians and p-value; a dash if a group is empty."""
    if not len(generic) or not len(specific):
        return "-"
    p = mannwhitneyu(generic, specific, alternative="two-sided").pvalue
    return f"{np.median(generic):.3g} / {np.median(specific):.3g}, p = {p:.0e}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = arguments()
    if settings.weights:
        print(f"| run | weights | generic / specific | {' | '.join(STATISTICS)} |\n|---|---|---|---|---|---|---|")
        print("\n".join(text for run in finished(settings.comparison / settings.weights) for text in weights(run)))
    else:
        print("| agent | validation perplexity | test perplexity | parameters | modules in use | runs |")
        print("|---|---|---|---|---|---|")
        for folder in sorted(path for path in settings.comparison.iterdir() if finished(path)):
            print(line(folder), flush=True)
