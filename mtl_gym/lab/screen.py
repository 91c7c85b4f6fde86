"""Terminal output of the command line. Names, paths and messages are printed literally, without markup."""

from __future__ import annotations

import sys

from mtl_gym.core.extras import needed_by

with needed_by("The command line"):
    from rich.console import Console
    from rich.progress import TextColumn
    from rich.text import Text


def console_of(stderr: bool = False) -> Console:
    """Return a console without markup, emoji and highlights."""
    # A table in a file or a pipe need not fit a screen.
    width = None if sys.stdout.isatty() or stderr else 120
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def say(console: Console, text: str) -> None:
    """Print text on one line, whatever its length."""
    console.print(Text(text), soft_wrap=True)


def complain(sentence: str) -> None:
    """Print an error on standard error."""
    console_of(stderr=True).print(Text.assemble(("error:", "red"), " ", sentence), soft_wrap=True)


def warn(sentence: str) -> None:
    """Print a warning on standard error."""
    console_of(stderr=True).print(Text.assemble(("warning:", "yellow"), " ", sentence), soft_wrap=True)


def descriptions() -> TextColumn:
    """Return the description column of a progress bar."""
    return TextColumn("{task.description}", markup=False)
