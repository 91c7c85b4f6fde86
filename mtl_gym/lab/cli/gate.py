"""Command `mtl-gym gate`: which ids are benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtl_gym.lab.cli.common import Quiet, app, check, console, sentences
from mtl_gym.lab.cli.compare import told
from mtl_gym.lab.cli.tables import plain_table
from mtl_gym.lab.screen import complain, say

if TYPE_CHECKING:
    from mtl_gym.lab.gate.judgement import Judgement


@app.command()
def gate(
    out: Annotated[Path, typer.Option(help="Folder of the runs and tables; its finished runs are reused.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Benchmark ids; default all whose data are there.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per agent: 0, 1, ...")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Parallel processes on this machine; they share its threads.")] = 1,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also replace the ids' figures in this file, which cards read.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure whether environments are benchmarks: oracle, controls, learners and stock algorithms on every id.

    Rerunning the same command resumes an interrupted measurement.
    """
    from mtl_gym.lab.gate import pages
    from mtl_gym.lab.gate.measuring import measure
    from mtl_gym.lab.gate.plan import benchmarks, trial, with_data
    from mtl_gym.lab.progress import Bar

    with sentences():
        trials = [trial(env_id, seeds) for env_id in dict.fromkeys(ids or with_data(benchmarks()))]
        runs = check([run for each in trials for part in each.parts.values() for run in part])
        if write is not None and seeds < 2:
            raise ValueError("--write needs --seeds 2 or more: cards have the spread over seeds.")
        with Bar(runs, console, quiet) as bar:
            found = measure(trials, out.absolute(), jobs, bar, print_judgement)
        failures = [f"{failure.settings.env_id}, {failure}" for failure in found.failures]
        if found.judgements:
            console.print(plain_table(pages.summary(found.judgements), "Gate"))
            say_lines()
        pages.write_markdown(found.judgements, failures, out / "gate.md")
        pages.write_json(found.judgements, failures, out / "gate.json")
        say(console, f"wrote {out / 'gate.md'}")
        if write is not None:
            pages.write_measured(found.complete, write)
            say(console, f"wrote {write}")
    if found.failures:
        complain(told(failures))
        raise typer.Exit(1)


def print_judgement(judgement: Judgement) -> None:
    """Print the table of an id."""
    from mtl_gym.lab.gate.pages import notes, table_of_agents

    console.print(plain_table(table_of_agents(judgement), judgement.env_id))
    for sentence in notes(judgement):
        say(console, sentence)


def say_lines() -> None:
    """Print what the lines of the gate ask for."""
    from mtl_gym.lab.gate.judgement import LINES

    for number, line in enumerate(LINES, 1):
        say(console, f"{number}: {line}")
