"""Result tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table

if TYPE_CHECKING:
    from mtl_gym.lab.compare import Row

# Columns of a comparison that a terminal does not show; `table.md` has them.
ONLY_IN_FILES = ("sampled", "blocks", "epochs", "samples/s")
# Maximum width of a name on one line, in terminal columns.
WIDEST_NAME = 60


def table_of(rows: Sequence[Row], env: str, without: Sequence[str] = ()) -> Table:
    """Return the table of a comparison, a line per agent, without some columns."""
    from mtl_gym.lab.compare import table as lines_of

    seeds, measure = max(row.seeds for row in rows), str(rows[0].measure)
    spread = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    table = Table(title=f"{env}: {measure} on the test split{spread}")
    columns = [column for column in zip(*lines_of(rows), strict=True) if column[0] not in without]
    head, *body = zip(*columns, strict=True)
    # Truncated names may be indistinguishable.
    names = min(WIDEST_NAME, max(cell_len(line[0]) for line in [head, *body]))
    table.add_column(head[0], min_width=names, overflow="fold")
    for name in head[1:]:
        left = name in ("worst task", "best task")
        table.add_column(name, justify="left" if left else "right", no_wrap=name in (measure, "score"), overflow="fold")
    for line in body:
        table.add_row(*line)
    return table


def legend_of(rows: Sequence[Row]) -> str:
    """Return what the spreads and intervals in the table of a comparison are; "" if there are none."""
    parts = ["± is the standard deviation over seeds"] if max(row.seeds for row in rows) > 1 else []
    scores = [row.score for row in rows if row.score is not None]
    parts += ["brackets are Student's 95% interval of the score"] if any("[" in str(score) for score in scores) else []
    told = "; ".join(parts) + "." if parts else ""
    if any(score.value > 1.005 for score in scores):
        told += " A score above 1 is luck of the seeds, or the oracle is no proven bound."
    return told.strip()


def plain_table(lines: Sequence[Sequence[str]], title: str) -> Table:
    """Return lines as a table; the first one is the header."""
    head, *body = lines
    table = Table(title=title)
    for number, name in enumerate(head):
        table.add_column(name, overflow="fold", no_wrap=not number)
    for line in body:
        table.add_row(*line)
    return table
