"""Measure many seeds at once against one seed: tables and fixed routes on benchmarks of routing.

One round trains an agent for some decisions in one run of 64 rows, and another in many such runs side by side, each
equal to the bit to a run of its own. Both include the environment, the adapter and the agent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product

from measuring import Timing, alternate, begin, parser, percent, table

from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.agents import find_agent
from mtl_gym.lab.memory import keep_memory

IDS = ("MTLRouting-Paths-v0", "MTLRouting-Groups-v0", "MTLRouting-GroupedDigits-v0")
AGENTS = (
    *("wpl", "pg-table", "q-history", "assignment"),
    *("random-fixed", "shared", "task-specific-all", "task-specific-last", "separate", "oracle"),
)
ROWS, STEPS, AIM = 64, 10, 4.0


def training(name: str, agent: str, runs: int, arguments: argparse.Namespace) -> Callable[[], object]:
    """Return some steps of training, as a function without arguments."""
    kind = find_agent(agent)
    options = dict(getattr(kind, "ENV_KWARGS", {}), device=arguments.device)
    learner = kind(make_vec_env(name, ROWS, runs=runs, **options), seed=0)
    learner.learn(ROWS * STEPS)
    return lambda: learner.learn(ROWS * STEPS, reset_num_timesteps=False)


def measure(name: str, agent: str, arguments: argparse.Namespace) -> list[object] | None:
    """Measure an agent with one seed and with many; return its line of the table, None where it does not fit."""
    try:
        ways = {runs: training(name, agent, runs, arguments) for runs in (1, arguments.runs)}
    except ValueError:
        return None
    timings = alternate(ways, arguments.rounds, arguments.seconds)
    one, many = timings[1], timings[arguments.runs]
    times = many.median / one.median if arguments.rounds < 2 else 1 / many.speed_against(one)
    return [name, agent, _ms(one), _ms(many), percent(max(one.spread, many.spread)), times]


def _ms(timing: Timing) -> float:
    return timing.median / STEPS * 1e3


def main() -> None:
    """Print the table."""
    made = parser(__doc__, rounds=5, seconds=0.3)
    made.add_argument("--runs", type=int, default=32, help="seeds at once")
    made.add_argument("--ids", nargs="+", default=list(IDS), help="environments")
    made.add_argument("--agents", nargs="+", default=list(AGENTS), help="agents")
    arguments = made.parse_args()
    keep_memory()
    begin("Many seeds at once", arguments)
    lines = [measure(name, agent, arguments) for name, agent in product(arguments.ids, arguments.agents)]
    rows = [line for line in lines if line is not None]
    many = arguments.runs
    print(table(["environment", "agent", "one seed, ms a step", f"{many} seeds, ms", "spread", "times one seed"], rows))
    worst = max(float(str(row[-1])) for row in rows)
    print(f"\nAim: {many} seeds in at most {AIM:g} times the time of one seed; at most {worst:.2f} here.")


if __name__ == "__main__":
    main()
