"""Search for the best schedule of `MTLScheduling-Skills-v0`, and print it with its value.

Without forgetting, the search over switch times is exact. With forgetting, beams of several widths search, and the best
schedule of all is printed.
"""

from __future__ import annotations

import argparse
import time
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mtl_gym.families.scheduling.skills import SkillsOptions
from mtl_gym.families.scheduling.skills_chain import Chain
from mtl_gym.families.scheduling.skills_search import best_mix, best_schedule, mixed


def parser() -> argparse.ArgumentParser:
    """Return the parser; options of the environment have its defaults."""
    made = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name in ("skills", "noise_tasks", "budget", "instance"):
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=vars(SkillsOptions())[name])
    made.add_argument("--forgetting", type=float, default=SkillsOptions().forgetting)
    made.add_argument("--widths", type=int, nargs="+", default=[1000, 5000, 20000], help="states in a beam")
    return made


def searched(chain: Chain, budget: int, widths: list[int]) -> tuple[NDArray[np.int64], float]:
    """Return the best schedule of places over all widths, and its mean level."""
    found = np.array([best_schedule(chain, budget, width) for width in widths])
    values = chain.values(found)
    return found[values.argmax()], float(values.max())


def myopic(chain: Chain, budget: int) -> float:
    """Return the mean level after always choosing the best next gain."""
    levels = np.zeros((1, chain.skills))
    for _ in range(budget):
        gains = chain.gains(levels) + chain.forgetting * levels
        levels = chain.practised(levels, gains.argmax(1))
    return float(levels.mean())


def main(arguments: argparse.Namespace) -> None:
    """Search and print."""
    options = SkillsOptions(**{name: value for name, value in vars(arguments).items() if name != "widths"})
    (chain,), budget = options.chains, options.budget
    start = time.perf_counter()
    schedule, value = searched(chain, budget, arguments.widths)
    seconds = time.perf_counter() - start
    runs = groupby(chain.order[place] for place in schedule)
    mix = chain.values(mixed(np.array([best_mix(chain, budget)]), budget))[0]
    print(f"tasks in the order of the chain: {chain.tasks.tolist()}")
    print(f"best schedule, decisions x task: {', '.join(f'{len(list(run))} x {task}' for task, run in runs)}")
    print(f"mean level: {100 * value:.2f}% ({'searched' if chain.forgetting else 'proven'}, {seconds:.1f} s)")
    print(f"best static mix: {100 * mix:.2f}%, myopic: {100 * myopic(chain, budget):.2f}%")


if __name__ == "__main__":
    main(parser().parse_args())
