"""Command `mtl-gym recommend`: which tasks of a data set should share a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

from mtl_gym.lab.cli.common import Quiet, Root, app, check_out, console, sentences
from mtl_gym.lab.screen import descriptions, say

if TYPE_CHECKING:
    from mtl_gym.data import MultiTaskDataset


@app.command()
def recommend(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Name of a data set (`mtl-gym data list` shows them), or a .npz file with arrays x, y and task.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="File for all figures, as JSON.")] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Training samples of one training; default 40,000, or 5 passes if these are more."),
    ] = None,
    hidden: Annotated[int, typer.Option(min=1, help="Units of the hidden layer, for inputs that are no images.")] = 32,
    seeds: Annotated[int, typer.Option(min=2, max=3, help="Number of seeds: 0, 1, ...")] = 3,
    root: Root = None,
    quiet: Quiet = False,
) -> None:
    """Recommend which tasks should share a network: all, none, or groups.

    Trains a network per task, one for all, and one per group found. This costs at most ten trainings if --samples is at
    least 4 x tasks x tasks; with fewer, a warning says so.
    """
    from mtl_gym.core.state.checkpoint import write_atomically
    from mtl_gym.recommend import recommend_groups

    with sentences("nothing is kept."):
        if out is not None:
            check_out(out)
        with bar(quiet) as move:
            found = recommend_groups(
                read(data), seeds=range(seeds), samples=samples, hidden=hidden, data_root=root, progress=move
            )
        console.print(str(found), soft_wrap=True)
        if out is not None:
            text = json.dumps(found.to_json(), indent=2) + "\n"
            write_atomically(out, lambda file: file.write(text.encode()))
            say(console, f"wrote {out}")


def read(data: str) -> str | MultiTaskDataset:
    """Return the data set of a .npz file, or the name of a bundled data set."""
    from mtl_gym.data.npz import read_npz

    return read_npz(data) if data.endswith(".npz") else data


@contextmanager
def bar(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar over all trainings; yield a function of the training under way and the share done."""
    columns = (descriptions(), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda doing, share: progress.update(task, description=doing, completed=share)
