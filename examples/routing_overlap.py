"""Compare the overlap of trained routes with the true relatedness of generated series.

For every relatedness and seed, the script trains the paper's straight-through router on brain-series. The overlap of
two tasks in a regime is the share of equal connections to sub-decoders; their relatedness is a setting of the generated
data. The script prints rank correlations of overlap and relatedness over all pairs of tasks, regimes and settings, over
pairs only, and over settings only; and the same for random connections that stay fixed.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
from mtl_agents import RandomFixedConnections, StraightThroughRouter
from scipy.stats import spearmanr

import mtl_gym
from mtl_gym.data.sources.brain_series import REGIMES, truth
from mtl_gym.integrations.sb3 import make_vec_env

AGENTS = {"straight-through": StraightThroughRouter, "random-fixed": RandomFixedConnections}


def overlaps(name: str, dial: float, seed: int, arguments: argparse.Namespace) -> np.ndarray:
    """Train an agent; return the overlap of every pair of tasks in every regime, [regimes, pairs]."""
    options = {"data_kwargs": {"relatedness": dial}, "learning_rate": arguments.learning_rate}
    env = make_vec_env("MTLRecurrent-BrainSeries-v0", arguments.num_envs, seed, **options)
    rate = {"learning_rate": arguments.learning_rate}
    settings = StraightThroughRouter.PAPER | rate if name == "straight-through" else {}
    agent = AGENTS[name](env, seed=seed, **settings).learn(arguments.steps)
    result = mtl_gym.evaluate(agent, env, "validation")
    by_regime = result.figures["overlap"].reshape(REGIMES, -1, 4, 4).mean(1)
    print(f"{name:<18}{dial:>6.2f}{seed:>6}{100 * result.mean_accuracy:>10.1f}", flush=True)
    return pairs_of(by_regime)


def pairs_of(matrices: np.ndarray) -> np.ndarray:
    """Return the entries of pairs of tasks: [..., tasks, tasks] -> [..., pairs]."""
    first, second = zip(*combinations(range(matrices.shape[-1]), 2), strict=True)
    return matrices[..., list(first), list(second)]


def correlation(found: np.ndarray, wanted: np.ndarray) -> str:
    """Return Spearman's rank correlation as text; "nan" if one of the two is constant."""
    if np.ptp(found) == 0 or np.ptp(wanted) == 0:
        return "nan"
    return f"{spearmanr(found.ravel(), wanted.ravel()).statistic:+.2f}"


def main(arguments: argparse.Namespace) -> None:
    """Train all agents and print the correlations."""
    print(f"{'agent':<18}{'dial':>6}{'seed':>6}{'accuracy':>10}")
    wanted = np.stack([pairs_of(truth(dial)) for dial in arguments.dials])
    lines = []
    for name in AGENTS:
        for seed in range(arguments.seeds):
            found = np.stack([overlaps(name, dial, seed, arguments) for dial in arguments.dials])
            pairs = correlation(found.mean((0, 1)), wanted.mean((0, 1)))
            dials = correlation(found.mean((1, 2)), wanted.mean((1, 2)))
            lines.append(f"{name:<18}{seed:>6}{correlation(found, wanted):>14}{pairs:>8}{dials:>8}")
    print(f"\nrank correlation of overlap with relatedness\n{'agent':<18}{'seed':>6}{'everything':>14}", end="")
    print(f"{'pairs':>8}{'dials':>8}", *lines, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dials", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0], help="relatedness")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--steps", type=int, default=770_000, help="decisions per training; about 12 epochs")
    parser.add_argument("--num-envs", type=int, default=256, help="parallel sequences")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="learning rate of network and router")
    main(parser.parse_args())
