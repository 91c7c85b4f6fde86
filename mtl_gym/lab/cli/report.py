"""Commands `mtl-gym figures` and `mtl-gym report`: pictures and pages from the files of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mtl_gym.lab.cli.common import Control, ModuleId, Quiet, app, console, sentences
from mtl_gym.lab.screen import say, warn


@app.command()
def figures(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_COMPARISON", help="Folder of a finished run or comparison.")
    ],
    block: Annotated[
        int | None, typer.Option(min=0, help="Also draw the probability of this choice over time.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Depth of the drawn policies.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures; default: RUN_OR_COMPARISON.")] = None,
) -> None:
    """Redraw the pictures of a finished run or comparison from its files."""
    from mtl_gym.lab.pictures import redraw

    with sentences():
        for path in redraw(folder, block, depth, out, warn):
            say(console, f"wrote {path}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a comparison, or of several comparisons.")],
    control: Control = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; default: DIR.")] = None,
    env: ModuleId = None,
    quiet: Quiet = False,
) -> None:
    """Write a report with statistics and figures on finished comparisons."""
    from mtl_gym.lab.environments import spec_of

    with sentences(), console.status("the runs") as status:
        from mtl_gym.lab.report import report as write

        if env is not None:
            spec_of(env)
        if quiet or not console.is_terminal:
            status.stop()
        failed = write(folder, control, lambda doing: status.update(Text(doing)), out)
    for comparison, failures in failed.items():
        for failure in failures:
            say(console, f"failed: {comparison}, {failure.agent}, seed {failure.seed}: {failure.error}")
    say(console, f"wrote {(out or folder) / 'report.html'}")
