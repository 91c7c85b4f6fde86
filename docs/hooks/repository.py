"""Give the site what the pages link to outside `docs`: README files, examples, settings.

On GitHub a page links to `../examples/quickstart.py`. The site has a page for each such file, with its text, and for
each such folder, with its list of files. Links are rewritten when a page is built, so that the pages stay as they are.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SORTING = ROOT / "mtl_gym" / "lab" / "report" / "sort-tables.js"  # that of reports
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(#[^)\s]*)?(?=\))")
WIDE = ("index.md", "leaderboard.md", "leaderboard-of-replications.md")  # pages without a menu at their side
HIDDEN = "dot-"  # MkDocs leaves out what begins with a dot
LANGUAGES = {".ipynb": "json", ".py": "python", ".yaml": "yaml", ".yml": "yaml"}


def source_of(place: str) -> Path:
    """Return the file or folder that a page of the site shows."""
    inside = place.removeprefix("repository/")
    return ROOT / inside.removesuffix(".md").replace(HIDDEN, ".") if inside != place else DOCS / place


def place_of(source: Path) -> str:
    """Return the page of the site that shows a file or folder of the repository."""
    if source.is_relative_to(DOCS) and source.is_file():
        return source.relative_to(DOCS).as_posix()
    place = "/".join(re.sub(r"^\.", HIDDEN, part) for part in source.relative_to(ROOT).parts)
    return f"repository/{place}.md"


def linked(source: Path, text: str) -> Iterator[Path]:
    """Yield the files and folders of the repository that a text links to."""
    for target, _ in LINK.findall(text):
        found = (source.parent / target).resolve()
        if found.exists() and found.is_relative_to(ROOT):
            yield found


def text_of(source: Path) -> str:
    """Return the Markdown of the page that shows a file or folder outside `docs`."""
    if source.suffix == ".md":
        return source.read_text(encoding="utf-8")
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {source.name}\n\n"
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix in LANGUAGES)
        return head + "\n".join(f"- [{(name := path.relative_to(source))}]({source.name}/{name})" for path in files)
    return (
        f"{head}`{source.relative_to(ROOT)}`\n\n````{LANGUAGES.get(source.suffix, 'text')}\n{source.read_text()}````\n"
    )


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file and folder that some page links to, and the script that sorts tables."""
    files.append(File.generated(config, "javascripts/sort-tables.js", content=SORTING.read_text()))
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages()]
    while waiting:
        source = waiting.pop()
        text = source.read_text(encoding="utf-8") if source.is_file() else text_of(source)
        for found in linked(source, text):
            if files.get_file_from_path(place_of(found)) is None:
                files.append(File.generated(config, place_of(found), content=text_of(found)))
                waiting.append(found)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to the pages of the site; hide the menu of wide pages."""
    here = page.file.src_uri
    source = source_of(here)
    if here in WIDE:
        page.meta["hide"] = ["navigation"]

    def lead(link: re.Match[str]) -> str:
        found = (source.parent / link[1]).resolve()
        if not found.exists() or not found.is_relative_to(ROOT):
            return link[0]
        return posixpath.relpath(place_of(found), posixpath.dirname(here) or ".") + (link[2] or "")

    return LINK.sub(lead, markdown)
