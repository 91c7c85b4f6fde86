"""Command `mtl-gym transfer`: transfer to a held-out task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from mtl_gym.lab.cli.common import (
    Agents,
    EnvKwargs,
    OptionalEnv,
    OptionalNumEnvs,
    OptionalSteps,
    Quiet,
    Seeds,
    Settings,
    app,
    console,
    planned,
    read_json,
    sentences,
    unless_read_only,
)
from mtl_gym.lab.screen import descriptions, say

if TYPE_CHECKING:
    from mtl_gym.lab.records import RunSettings

Job: TypeAlias = "tuple[RunSettings, str]"


@app.command()
def transfer(
    out: Annotated[Path, typer.Option(help="Folder of the runs and the table; its finished runs are reused.")],
    env: OptionalEnv = None,
    agents: Agents = None,
    settings: Settings = None,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated names of held-out tasks; default: all.")] = None,
    seeds: Seeds = None,
    steps: OptionalSteps = None,
    num_envs: OptionalNumEnvs = None,
    env_kwargs: EnvKwargs = "{}",
    quiet: Quiet = False,
) -> None:
    """Train on all tasks but one, freeze the encoder, and cross-validate a new head on the held-out task."""
    from mtl_gym.lab import transfer as leave_one_out

    with sentences():
        changes = {"seeds": seeds, "steps": steps, "num_envs": num_envs}
        runs = planned(env, agents, settings, read_json("--env-kwargs", env_kwargs), changes)
        names = [name.strip() for name in tasks.split(",")] if tasks else leave_one_out.tasks_of(runs[0])
        jobs = [(run, name) for name in names for run in runs]
        with bar_of(len(jobs), quiet) as move:
            found = [leave_one_out.transfer(run, task, out) for run, task in map(move, jobs)]
    head, *body = leave_one_out.lines(found)
    table = Table(*head, title=f"{runs[0].env_id}: accuracy in % on a held-out task")
    for line in body:
        table.add_row(*line)
    console.print(table)
    with sentences(), unless_read_only(out):
        leave_one_out.write(found, out)
        say(console, f"wrote {out / 'transfer.md'}")


@contextmanager
def bar_of(jobs: int, quiet: bool) -> Iterator[Callable[[Job], Job]]:
    """Show a progress bar over jobs; yield a function that displays the next job and returns it."""
    columns = (descriptions(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        bar = progress.add_task("", total=jobs, completed=-1)

        def move(job: Job) -> Job:
            run, task = job
            progress.update(bar, advance=1, description=f"{run.name}, seed {run.seed}, without {task}")
            return job

        yield move
