"""Blocks of a report (paragraphs, tables, pictures), and their rendering as Markdown and as one HTML page."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from mtl_gym.core.extras import needed_by
from mtl_gym.lab.sheets import fenced, markdown_table, plain

with needed_by("A report"):
    from jinja2 import Environment

TEMPLATE = "page.html.jinja"
SCRIPT = "sort-tables.js"  # the documentation has it too
SHADES = 64


@dataclass(frozen=True)
class Table:
    """A table of text cells; the first line is the header."""

    caption: str
    lines: list[list[str]]
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A figure of the report, stored as PNG and as SVG.

    Attributes:
        png: Path of the PNG.
        title: Title.
        text: Caption that explains how to read the figure.
    """

    png: Path
    title: str
    text: str
    kind: str = "picture"

    @property
    def svg(self) -> Path:
        """Path of the SVG."""
        return self.png.with_suffix(".svg")

    @property
    def source(self) -> str:
        """Data URI of the SVG."""
        return embedded(self.svg)


@dataclass(frozen=True)
class Drawing:
    """A figure that is stored in no file; SVG with a title and a caption that explains how to read it."""

    svg: bytes
    title: str
    text: str
    kind: str = "picture"

    @property
    def source(self) -> str:
        """Data URI of the SVG."""
        return _data_uri(self.svg, "svg+xml")


@dataclass(frozen=True)
class Code:
    """Preformatted text."""

    text: str
    language: str
    kind: str = "code"


@dataclass(frozen=True)
class Item:
    """Pictures behind a title, shown on a click or, if `open`, from the beginning."""

    title: str
    pictures: list[Path]
    open: bool = False


@dataclass(frozen=True)
class Items:
    """A list of items."""

    items: list[Item]
    kind: str = "items"


Block: TypeAlias = "str | Table | Picture | Drawing | Code | Items"


@dataclass(frozen=True)
class Section:
    """A heading and its blocks; strings are paragraphs."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def to_markdown(title: str, sections: Sequence[Section], folder: Path) -> str:
    """Return the report as Markdown with links to the pictures, relative to `folder`."""
    parts = [f"# {plain(title)}"]
    for section in sections:
        parts += [f"## {plain(section.title)}", *(_markdown(block, folder) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block, folder: Path) -> str:
    if isinstance(block, Table):
        return f"{plain(block.caption)}\n\n{markdown_table(block.lines)}".rstrip("\n")
    if isinstance(block, Picture):
        link = f"![{plain(block.title)}]({link_to(block.png, folder)})"
        return f"{link}\n\n**{plain(block.title)}.** {plain(block.text)} ([SVG]({link_to(block.svg, folder)}))"
    if isinstance(block, Drawing):
        return f"**{plain(block.title)}.** {plain(block.text)}"
    if isinstance(block, Code):
        return fenced(block.text, block.language)
    if isinstance(block, Items):
        return "\n".join(f"- {plain(item.title)}: {_links(item.pictures, folder)}" for item in block.items)
    return plain(block)


def _links(pictures: Sequence[Path], folder: Path) -> str:
    return ", ".join(f"[{plain(path.stem)}]({link_to(path, folder)})" for path in pictures) or "no picture"


def link_to(path: Path, folder: Path) -> str:
    """Return the URL of a file relative to a folder."""
    from urllib.parse import quote

    return quote(Path(os.path.relpath(path, folder)).as_posix())


@dataclass(frozen=True)
class Live:
    """A page about files that change: it links the pictures of items, and reloads itself.

    Attributes:
        folder: Folder of the page.
        every: Seconds between two reloads; None for a last page, which does not reload.
    """

    folder: Path
    every: float | None

    def source(self, path: Path) -> str:
        """Return the URL of a picture, another one after each change, so that browsers do not show an old one."""
        return f"{link_to(path, self.folder)}?{path.stat().st_mtime_ns if path.exists() else 0}"


def to_html(title: str, sections: Sequence[Section], live: Live | None = None) -> str:
    """Return one HTML page without network requests; its pictures are embedded unless it is live."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["source"] = live.source if live else embedded
    template, script = (resources.files(__package__).joinpath(name).read_text() for name in (TEMPLATE, SCRIPT))
    return environment.from_string(template).render(title=title, sections=sections, live=live, script=script)


def embedded(path: Path) -> str:
    """Return a picture as a data URI; PNGs are reduced to 64 colours, enough for drawings."""
    return _data_uri(path.read_bytes(), "svg+xml") if path.suffix == ".svg" else _data_uri(shrunk(path), "png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def shrunk(path: Path) -> bytes:
    """Return a PNG with a palette, or unchanged if that is not smaller or the file is damaged."""
    from PIL import Image

    file = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(SHADES).save(file, "png", optimize=True)
    except Exception:  # Pillow raises a dozen types of errors for a broken file
        return path.read_bytes()  # the page then shows the file's name
    return min(file.getvalue(), path.read_bytes(), key=len)
