"""Command line: `mtl-gym COMMAND`, a module per group of commands."""

from __future__ import annotations

import logging
from typing import Annotated

import mtl_gym  # registers the ids
from mtl_gym.core.extras import needed_by
from mtl_gym.lab.memory import keep_memory

with needed_by("The command line"):
    import filelock  # noqa: F401 (the commands import it late)
    import typer
    import yaml  # noqa: F401

    from mtl_gym.lab.cli import catalogue, compare, gate, leaderboard, recommend, report, train, transfer, watch  # noqa: F401 (adds commands)
    from mtl_gym.lab.cli.common import app, console

__all__ = ["app", "program"]


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"mtl-gym {mtl_gym.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version, then exit.")
    ] = False,
) -> None:
    """Train and compare agents on environments whose actions are decisions inside multi-task learning."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")


def program() -> None:
    """Run the command line, then exit the process."""
    keep_memory()
    app()
