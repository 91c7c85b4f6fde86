"""Measure how the decomposed evolutionary algorithm scales with the locations: MUiR's theorems 3.1 and 3.2.

Scores are linear, runs start with a separate module for every location, and the optimum is one module everywhere.
With a submapping per location (D = L) and modules drawn in proportion to their use, the generations to the optimum
grow like log L; with one submapping for the whole model (D = 1) they grow faster than L.

    python examples/alignment_growth.py
    python examples/alignment_growth.py --locations 30 100 --runs 5 --picture ""
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.figure import Figure
from mtl_agents.alignment.evolution import generations_to_optimum

CASES = {
    "D = L, proportional": ("each", "proportional"),
    "D = L, uniform": ("each", "uniform"),
    "D = 1, proportional": ("one", "proportional"),
    "D = 1, uniform": ("one", "uniform"),
}


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locations", type=int, nargs="+", default=[30, 100, 300, 1000, 3000], help="values of L")
    parser.add_argument("--runs", type=int, default=20, help="runs per case")
    parser.add_argument("--limit", type=int, default=200_000, help="maximum number of generations of a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="alignment_growth.png", help='file of the picture, "" for none')
    return parser.parse_args()


def measure(case: str, args: argparse.Namespace) -> list[float]:
    """Return the mean generations to the optimum for each L; NaN from the first L with a run beyond the limit."""
    decomposition, sampling = CASES[case]
    means: list[float] = []
    for size in args.locations:
        if means and np.isnan(means[-1]):
            means.append(float("nan"))
            continue
        submappings = size if decomposition == "each" else 1
        times = generations_to_optimum(size, submappings, sampling, runs=args.runs, limit=args.limit, seed=args.seed)
        means.append(float(times.mean()))
    return means


def draw(found: dict[str, list[float]], args: argparse.Namespace) -> None:
    """Draw generations over locations on logarithmic axes."""
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    for case, means in found.items():
        axes.loglog(args.locations, means, "o-", label=case)
    axes.set_xlabel("locations L")
    axes.set_ylabel("generations to the optimum")
    axes.legend()
    figure.savefig(args.picture, dpi=100)


if __name__ == "__main__":
    settings = arguments()
    results = {}
    print("| L | " + " | ".join(map(str, settings.locations)) + " | per doubling of L |")
    print("|---|" + "---|" * (len(settings.locations) + 1))
    for name in CASES:
        results[name] = measure(name, settings)
        known = np.isfinite(results[name])
        sizes, times = np.array(settings.locations)[known], np.array(results[name])[known]
        growth = "" if known.sum() < 2 else f"+{np.polyfit(np.log2(sizes), times, 1)[0]:.2f}"
        power = "" if known.sum() < 2 else f"x{2 ** np.polyfit(np.log2(sizes), np.log2(times), 1)[0]:.2f}"
        cells = [f"{time:,.0f}" if np.isfinite(time) else f"> {settings.limit:,}" for time in results[name]]
        print(f"| {name} | " + " | ".join(cells) + f" | {growth}, {power} |", flush=True)
    if settings.picture:
        draw(results, settings)
