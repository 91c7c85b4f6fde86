"""Tables as CSV and Markdown files, escaped against formulas and markup."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtl_gym.core.state.checkpoint import write_atomically

# First characters of formulas in spreadsheets.
FORMULA = tuple("=+-@\t\r\n")


def write_csv(lines: Sequence[Mapping[str, object]], path: Path, last: Sequence[str] = ()) -> None:
    """Write a CSV file atomically; its columns are those of all lines, with `last` at the end."""
    columns = [column for column in dict.fromkeys(column for line in lines for column in line) if column not in last]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(map(inert, [*columns, *last]))
    table.writerows([inert(line.get(column, "")) for column in (*columns, *last)] for line in lines)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def inert(cell: object) -> object:
    """Return a cell that no spreadsheet executes: text like a formula gets an apostrophe in front.

    Source: OWASP, CSV injection.

    Example:
        >>> inert("=1+1"), inert("wpl"), inert(-0.5)
        ("'=1+1", 'wpl', -0.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Return cells as a Markdown table; the first line is the header."""
    head, *body = ([plain(cell) for cell in line] for line in lines)
    return "".join("| " + " | ".join(line) + " |\n" for line in [head, ["---"] * len(head), *body])


def write_markdown(lines: Sequence[Sequence[str]], path: Path) -> None:
    """Write a Markdown table; the first line is the header."""
    write_atomically(path, lambda file: file.write(markdown_table(lines).encode()))


def plain(text: str) -> str:
    r"""Escape text for Markdown.

    Example:
        >>> print(plain("<b>|_x_*"))
        &lt;b&gt;\|\_x\_\*
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text)


def fenced(text: str, language: str) -> str:
    """Return text in a fence that is longer than any in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{fence}"
