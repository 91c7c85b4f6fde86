"""Search for the best schedule of `MTLScheduling-TextMixture-v0`, and print the best ones with their values.

Random schedules of the target and the related sources in equal parts of a run are played on instances apart from those
of the benchmark. The best ones are improved part by part, and the best of all are played again in more runs, beside
constant ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from schedules import INSTANCES, SEED, Plans, changed, ranking, told, values

from mtl_gym.families.scheduling.text_mixture import TEXTS, TextMixtureOptions, TextMixtureVectorEnv

SOURCES = (0, 1, 2)
PARTS = 8


def parser() -> argparse.ArgumentParser:
    """Return the parser; options of the environment have its defaults."""
    made = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--text", choices=TEXTS, default="generated")
    made.add_argument("--updates", type=int, default=TextMixtureOptions().updates)
    made.add_argument("--random", type=int, default=200, help="random schedules")
    made.add_argument("--improved", type=int, default=4, help="schedules that are improved in every round")
    made.add_argument("--rounds", type=int, default=3, help="rounds of improvement")
    made.add_argument("--runs", type=int, default=4, help="runs of every schedule on each instance")
    made.add_argument("--again", type=int, default=48, help="runs of the best schedules on each instance")
    return made


def searched(envs: Sequence[TextMixtureVectorEnv], arguments: argparse.Namespace) -> Plans:
    """Return the schedules that were best in a few runs."""
    plans = np.random.default_rng(SEED).choice(SOURCES, (arguments.random, PARTS))
    found = values(envs, plans, arguments.runs)
    for _ in range(arguments.rounds):
        best = ranking(envs[0], found)[: arguments.improved]
        more = np.concatenate([changed(plan, SOURCES) for plan in plans[best]])
        plans = np.concatenate([plans, more])
        found = np.concatenate([found, values(envs, more, arguments.runs)])
    return np.unique(plans[ranking(envs[0], found)[:12]], axis=0)


def main(arguments: argparse.Namespace) -> None:
    """Search and print."""
    options = {"text": arguments.text, "updates": arguments.updates, "updates_per_step": arguments.updates // PARTS}
    envs = [TextMixtureVectorEnv(**options, instance=instance) for instance in INSTANCES]
    for env in envs:
        env.reset(seed=SEED)
    constant = [np.arange(PARTS) % 2 + 1, np.arange(PARTS) % 3, np.zeros(PARTS, int), np.arange(PARTS) % len(env.roles)]
    plans = np.concatenate([searched(envs, arguments), constant])
    found = values(envs, plans, arguments.again)
    print(f"{arguments.updates} updates, {envs[0].text}: bits per byte on test text, lower is better")
    print(f"places in {', '.join(envs[0].roles)}\n{told(envs[0], plans, found)}")


if __name__ == "__main__":
    main(parser().parse_args())
