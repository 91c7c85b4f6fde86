"""Make the leaderboard: run every algorithm on every benchmark id, write the entries, and the page that shows them.

`python benchmarks/leaderboard.py run --out runs/leaderboard --jobs 2` carries out the runs and writes an entry for
every agent whose runs finished; the same command resumes. `python benchmarks/leaderboard.py page` rewrites the page
from the entries; with `--check` it only says whether the page is out of date.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from cards import PAGES, fill

from mtl_gym.lab.compare import plan_entries
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.fitting import fitting
from mtl_gym.lab.gate.plan import Trial, benchmarks, trial
from mtl_gym.lab.leaderboard.entries import entry_of, read_entries, write_entry
from mtl_gym.lab.leaderboard.page import markdown
from mtl_gym.lab.leaderboard.verify import threads
from mtl_gym.lab.progress import Bar
from mtl_gym.lab.records import BARE, RunSettings
from mtl_gym.lab.screen import console_of
from mtl_gym.lab.sweep import Failure, Sweep

ENTRIES, PAGE = PAGES.parent / "leaderboard", PAGES.parent / "leaderboard.md"
# They take ten times as long as the others.
SLOW = ("qr-dqn", "recurrent-ppo")


def runs_of(env_id: str, seeds: int) -> tuple[Trial, list[RunSettings]]:
    """Return the runs of an id: those of the gate at the card's length, and those of all other learners that fit."""
    found = trial(env_id, seeds)
    base = replace(found.runs[0], seed=0, agent_kwargs={})
    more = [name for name in fitting(env_id)["learner"] if name not in (*found.names, *SLOW)]
    entries = [replace(base, agent=name, name=name) for name in more]
    return found, [*found.runs, *(plan_entries(entries, seeds) if entries else [])]


def run(ids: list[str], seeds: int, out: Path, jobs: int) -> None:
    """Carry out the runs of all ids; write the entries of agents without a failed run, and leave the others."""
    parts = {found.folder: runs for found, runs in (runs_of(env_id, seeds) for env_id in ids)}
    places = [(one, part) for part, runs in parts.items() for one in runs]
    sweep = Sweep([one for one, _ in places], out.absolute(), extras=BARE, parts=[part for _, part in places])
    with Bar(sweep.runs, console_of(), quiet=False) as bar, threads(jobs):  # one for each process
        outcomes = carry_out(sweep, jobs, watcher=bar)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    failed = {(failure.settings.env_id, failure.settings.name) for failure in failures}
    for part, runs in parts.items():
        for name in dict.fromkeys(one.name for one in runs if (one.env_id, one.name) not in failed):
            print(write_entry(entry_of(out / part / name), ENTRIES))
    for failure in failures:
        print(f"failed, its entry is left as it was: {failure.settings.env_id}, {failure}", file=sys.stderr)
    sys.exit(bool(failures))


def page(check: bool) -> None:
    """Write the tables into the page, or say whether they are out of date."""
    old = fill(PAGE, "leaderboard", markdown(read_entries(ENTRIES)), check=check)
    print(f"{PAGE.name}: {'out of date' if check and old else 'up to date' if check else 'written'}")
    sys.exit(check and old)


def main() -> None:
    """Run the algorithms, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="carry out the runs, and write the entries")
    running.add_argument("ids", nargs="*", metavar="ID", help="benchmark ids; default all")
    running.add_argument("--seeds", type=int, default=10, help="number of seeds; default 10")
    running.add_argument("--jobs", type=int, default=1, help="number of processes; default 1")
    running.add_argument("--out", type=Path, required=True, help="folder of the runs; finished ones are reused")
    writing = commands.add_parser("page", help="write the page from the entries")
    writing.add_argument("--check", action="store_true", help="change nothing; fail if the page is out of date")
    given = parser.parse_args()
    try:
        if given.command == "run":
            run(given.ids or benchmarks(), given.seeds, given.out, given.jobs)
        else:
            page(given.check)
    except (OSError, ValueError) as error:  # a full disk, a damaged entry
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
