"""Reports on one or more comparisons: statistics, figures, a Markdown file and a self-contained HTML page."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.lab.report import content, document, method
from mtl_gym.lab.report.aggregate import rliable
from mtl_gym.lab.report.collection import Comparison, MissingResult, name_of, read_comparisons, write_results

__all__ = ["report"]


def report(
    folder: Path,
    control: str | None = None,
    tell: Callable[[str], None] = lambda doing: None,
    out: Path | None = None,
) -> dict[str, list[MissingResult]]:
    """Write `results.csv`, `report.md`, `report.html` and the folder `figures` for a folder of runs.

    Args:
        folder: Folder of one comparison, or of several.
        control: Name of the reference run; by default the first control on the environment's card.
        tell: Callback that receives the name of each stage.
        out: Folder of the report; default `folder`. Set it if `folder` is read-only.

    Returns:
        Failed and unfinished runs, by comparison.

    Raises:
        MissingExtraError: If rliable cannot be imported.
        FileNotFoundError: If there is no finished run.
        ValueError: If no finished run is called `control`, or a comparison mixes environments.
        OSError: If the report cannot be written.
    """
    rliable()
    comparisons = read_comparisons(folder)
    known = sorted({name for comparison in comparisons for name in comparison.agents})
    if control is not None and control not in known:
        raise ValueError(f"The control {control!r} is not a finished run; choose from {', '.join(known)}.")
    out = out or folder
    try:
        write_results(comparisons, out / "results.csv")
        sections = _sections(comparisons, content.Author(folder, control, out), tell)
        tell("the pages")
        _write(sections, f"Report: {name_of(folder)}", out)
    except OSError as error:
        raise OSError(f"The report cannot be written into {out} ({error}); choose a folder with --out.") from error
    return {comparison.name: comparison.failures for comparison in comparisons}


def _sections(
    comparisons: Sequence[Comparison], author: content.Author, tell: Callable[[str], None]
) -> list[document.Section]:
    sections = [author.headline(comparisons)]
    if len(comparisons) > 1:
        tell("all comparisons together")
        sections.append(author.across(comparisons))
    for comparison in comparisons:
        tell(comparison.name)
        sections.append(author.comparison(comparison))
    option = ["--control", author.control] if author.control else []
    command = shlex.join(["mtl-gym", "report", name_of(author.folder), *option])
    return [*sections, method.failures(comparisons), method.method(comparisons, command)]


def _write(sections: Sequence[document.Section], title: str, folder: Path) -> None:
    markdown = document.to_markdown(title, sections, folder)
    page = document.to_html(title, sections)
    write_atomically(folder / "report.md", lambda file: file.write(markdown.encode()))
    write_atomically(folder / "report.html", lambda file: file.write(page.encode()))
