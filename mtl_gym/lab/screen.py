"""What the command line shows. Names, paths and messages are shown as they are: square brackets are no markup."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import TextColumn
from rich.text import Text


def console_of(stderr: bool = False) -> Console:
    """Return a console that reads nothing into text: no markup, no emoji, no highlights."""
    # A table that goes to a file or a pipe need not fit a screen.
    width = None if sys.stdout.isatty() or stderr else 120
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def say(console: Console, text: str) -> None:
    """Print a sentence, however long, in one line."""
    console.print(Text(text), soft_wrap=True)


def complain(sentence: str) -> None:
    """Print an error on standard error."""
    console_of(stderr=True).print(Text.assemble(("error:", "red"), " ", sentence), soft_wrap=True)


def warn(sentence: str) -> None:
    """Print a warning on standard error."""
    console_of(stderr=True).print(Text.assemble(("warning:", "yellow"), " ", sentence), soft_wrap=True)


def descriptions() -> TextColumn:
    """Return the column of a progress bar that says what is being done."""
    return TextColumn("{task.description}", markup=False)
