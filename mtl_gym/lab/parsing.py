"""Strict parsers of JSON and YAML that reject repeated keys."""

from __future__ import annotations

import json
import stat
from collections.abc import Hashable
from functools import partial
from pathlib import Path

from mtl_gym.core.extras import needed_by

with needed_by("A run"):
    import yaml

MERGE = "tag:yaml.org,2002:merge"


class RepeatedKeyError(ValueError):
    """A repeated key in a mapping; lenient parsers would keep only the last value."""


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the path is not a regular file, or the file is not UTF-8 text.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path.name} is not a regular file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text: {error}") from error


def parse_json(text: str, where: str) -> object:
    """Return the value of JSON text.

    Args:
        text: The text.
        where: Name of the text in messages.

    Raises:
        RepeatedKeyError: If a mapping has a repeated key.
        ValueError: If the text is not JSON, or nested too deeply.

    Example:
        >>> parse_json('{"rho": 0.1}', "--env-kwargs")
        {'rho': 0.1}
    """
    try:
        return json.loads(text, object_pairs_hook=partial(_unique, where))
    except RepeatedKeyError:
        raise
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error}).") from error
    except RecursionError as error:
        raise ValueError(f"{where} is nested too deeply.") from error


def _unique(where: str, pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise RepeatedKeyError(f"{where} has {twice!r} twice; write it once.")
    return found


def parse_yaml(text: str, where: str) -> object:
    """Return the value of YAML text; as `parse_json`, with line numbers in messages."""
    try:
        loader = _Loader(where, text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML ({' '.join(str(error).split())}).") from error
    except RecursionError as error:
        raise ValueError(f"{where} is nested too deeply.") from error


class _Loader(yaml.SafeLoader):
    """A loader of plain values that rejects repeated keys, of which YAML silently keeps the last."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(text)
        self.where = where

    def compose_mapping_node(self, anchor: dict[Hashable, yaml.Node]) -> yaml.MappingNode:
        """Compose a mapping, and check its keys before merges add others."""
        node = super().compose_mapping_node(anchor)
        lines: dict[Hashable, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                self._note(self.construct_object(key), key.start_mark.line + 1, lines)
        return node

    def _note(self, name: Hashable, line: int, lines: dict[Hashable, int]) -> None:
        if name in lines:
            raise RepeatedKeyError(
                f"{self.where}, line {line}: {name!r} repeats line {lines[name]}; give each its own name."
            )
        lines[name] = line
