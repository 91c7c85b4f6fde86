"""Command line: `mtl-gym COMMAND`, a module per group of commands."""

from __future__ import annotations

import logging

import mtl_gym  # noqa: F401 (registers the ids)
from mtl_gym.core.extras import needed_by
from mtl_gym.lab.memory import keep_memory

with needed_by("The command line"):
    import filelock  # noqa: F401 (the commands import it late)
    import yaml  # noqa: F401

    from mtl_gym.lab.cli import catalogue, compare, gate, leaderboard, recommend, report, train, transfer  # noqa: F401 (adds commands)
    from mtl_gym.lab.cli.common import app

__all__ = ["app", "program"]


@app.callback()
def main() -> None:
    """Train and compare agents on environments whose actions are decisions inside multi-task learning."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")


def program() -> None:
    """Run the command line, then exit the process."""
    keep_memory()
    app()
