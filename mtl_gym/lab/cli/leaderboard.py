"""Commands `mtl-gym entry` and `mtl-gym verify`: runs as an entry of the leaderboard, and the replay of an entry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from mtl_gym.lab.cli.common import Quiet, app, check, console, sentences
from mtl_gym.lab.cli.tables import plain_table
from mtl_gym.lab.screen import complain, say

if TYPE_CHECKING:
    from mtl_gym.lab.leaderboard.verify import Verdict


@app.command()
def entry(
    runs: Annotated[
        Path, typer.Argument(metavar="RUNS", help="Folder of an agent in a comparison, with a folder per seed.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the entries; the file is ID/AGENT.yaml in it.")],
    tuning: Annotated[
        str, typer.Option(help="How settings other than the defaults were chosen, on which instances and seeds.")
    ] = "",
    requires: Annotated[str, typer.Option(help="How to install an agent of another package.")] = "",
) -> None:
    """Write the finished runs of an agent as an entry of the leaderboard."""
    from mtl_gym.lab.leaderboard.entries import entry_of, write_entry

    with sentences():
        say(console, f"wrote {write_entry(entry_of(runs, tuning, requires), out)}")


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="ENTRY", help="YAML file of an entry.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds to replay; default all.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Parallel processes on this machine; they share its threads.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; default a temporary one.")] = None,
    quiet: Quiet = False,
) -> None:
    """Replay an entry of the leaderboard, and say whether it holds.

    With the versions of the entry, figures must be equal to the last digit; with others, their means must lie within
    the interval that the entry predicts.
    """
    from mtl_gym.lab.leaderboard.entries import read_entry
    from mtl_gym.lab.leaderboard.verify import verify as replay
    from mtl_gym.lab.progress import Bar

    with sentences(), folder(out) as place:
        known = read_entry(path)
        if seeds is not None and seeds > len(known.seeds):
            raise ValueError(f"--seeds {seeds} is not possible: the entry has {len(known.seeds)} seeds.")
        chosen = sorted(known.seeds)[:seeds]
        runs = check([known.settings(seed) for seed in chosen])
        with Bar(runs, console, quiet) as bar:
            verdict = replay(known, chosen, place.absolute(), jobs, bar)
    print_verdict(verdict)
    if not verdict.holds:
        raise typer.Exit(1)


@contextmanager
def folder(out: Path | None) -> Iterator[Path]:
    """Yield a folder for runs: `out`, or one that is removed afterwards."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="mtl-gym-verify-") as place:
        yield Path(place)


def print_verdict(verdict: Verdict) -> None:
    """Print the figures of both sides, what differs, and the conclusion."""
    entry = verdict.entry
    lines = [["seed", "figure", "replayed", "sampled", "replayed"]]
    for seed, run in verdict.replayed.items():
        known = entry.seeds[seed]
        values = (known.figure, run.figure, known.sampled, run.sampled)
        lines.append([str(seed), *("-" if value is None else f"{value!r}" for value in values)])
    console.print(plain_table(lines, f"{entry.name} on {entry.env}"))
    for name, (theirs, ours) in verdict.changed.items():
        say(console, f"{name}: {theirs} in the entry, {ours} here")
    for sentence in scores(verdict):
        say(console, sentence)
    if not verdict.differing:
        say(console, "The entry holds: all figures are equal to the last digit.")
    elif verdict.holds:
        say(console, "The entry holds: versions differ, and so do digits; all means are within the entry's intervals.")
    else:
        complain(conclusion(verdict))


def scores(verdict: Verdict) -> Iterator[str]:
    """Yield a sentence with the scores of the replayed seeds on both sides, if the card has a scale for them."""
    from mtl_gym.registration import card

    runs = verdict.replayed
    theirs, ours = (
        [run.figure for run in side] for side in ([verdict.entry.seeds[seed] for seed in runs], runs.values())
    )
    if not verdict.entry.env_kwargs:
        with suppress(ValueError):
            found = card(verdict.entry.env)
            both = (f"{found.score(sum(figures) / len(figures)):.2f}" for figures in (theirs, ours))
            yield "score, on the card's scale: {} in the entry, {} here".format(*both)


def conclusion(verdict: Verdict) -> str:
    """Return the message about an entry that does not hold."""
    if verdict.changed:
        return "\n  ".join(["The entry does not hold, though other versions may be the reason:", *verdict.outside])
    return "\n  ".join(["The entry does not hold, with the same versions:", *verdict.differing])
