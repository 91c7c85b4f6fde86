"""Command `mtl-gym watch`: a page about runs while they train."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mtl_gym.lab.cli.common import Quiet, app, console, sentences
from mtl_gym.lab.screen import say


@app.command()
def watch(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_COMPARISON", help="Folder of a run, or of one or more comparisons.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: RUN_OR_COMPARISON.")] = None,
    every: Annotated[float, typer.Option(help="Seconds between two pages.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Write one page, then exit.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a page about runs while they train: learning curves, states, errors and pictures.

    The page is watch.html, a file that reloads itself in a browser. The command ends when all runs are over.
    """
    from mtl_gym.lab.watch import Watch
    from mtl_gym.lab.watch import watch as keep_writing
    from mtl_gym.lab.watch.page import summary

    with sentences("the page stays as it is."), console.status("the runs") as status:
        settings = Watch(folder, out, every, once)
        if quiet or not console.is_terminal:
            status.stop()
        address = settings.page.absolute().as_uri()
        unopened = [address] if show else []
        say(console, f"open {address} in a browser" + ("" if once else "; Ctrl-C ends the watch"))

        def tell(doing: str) -> None:
            status.update(Text(doing))
            while unopened:
                webbrowser.open(unopened.pop())

        runs = keep_writing(settings, tell)
    say(console, summary(runs))
