"""Search for the best schedule of `MTLScheduling-Prerequisites-v0`, and print the best ones with their values.

All schedules of pattern and parity in equal parts of a run are played on instances apart from those of the benchmark.
The best ones, that of the environment, and all that differ from the first in one part, where they train another task,
are played again in more runs.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from schedules import INSTANCES, SEED, changed, ranking, told, values

from mtl_gym.families.scheduling.prerequisites import PrerequisitesOptions, PrerequisitesVectorEnv


def parser() -> argparse.ArgumentParser:
    """Return the parser; options of the environment have its defaults."""
    made = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--updates", type=int, default=PrerequisitesOptions().updates)
    made.add_argument("--parts", type=int, default=8, help="equal parts of a run")
    made.add_argument("--runs", type=int, default=4, help="runs of every schedule on each instance")
    made.add_argument("--again", type=int, default=32, help="runs of the best schedules on each instance")
    return made


def main(arguments: argparse.Namespace) -> None:
    """Search and print."""
    updates, parts, again = arguments.updates, arguments.parts, arguments.again
    sizes = {"updates": updates, "updates_per_step": updates // parts}
    envs = [PrerequisitesVectorEnv(**sizes, instance=instance) for instance in INSTANCES]
    for env in envs:
        env.reset(seed=SEED)
    plans = np.array(list(product((0, 1), repeat=parts)))
    known = np.array(envs[0].plan)[np.arange(parts) * len(envs[0].plan) // parts]
    best = plans[ranking(envs[0], values(envs, plans, arguments.runs))[:8]]
    best = np.unique([*best, known], axis=0)
    found = values(envs, best, again)
    print(f"{updates} updates: 0 is pattern, 1 parity; mean test accuracy of both\n{told(envs[0], best, found)}")
    print(f"schedule of the environment: {known.tolist()}")
    in_turn = values(envs, np.arange(parts)[None] % 2, again).item()
    others = values(envs, changed(best[ranking(envs[0], found)[0]], range(2, envs[0].data.num_tasks)), again // 4)
    print(f"pattern and parity in turn: {in_turn:.3f}")
    print(f"the first with another task in one part: at most {others.max():.3f}")


if __name__ == "__main__":
    main(parser().parse_args())
