"""Annotated text in columns: one token per line, and an empty line after every sentence.

CoNLL's shared tasks, Universal Dependencies and ICON use this format with different columns.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_lines, tell_difference

Sentence = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Format:
    """Layout of a file in columns.

    Attributes:
        columns: Number of columns of a line.
        kept: Columns to read, the words first.
        separator: Separator of columns.
        ignored: Function that returns True for lines that are not tokens.
    """

    columns: int
    kept: tuple[int, ...]
    separator: str = " "
    ignored: Callable[[str], bool] = lambda line: False


def read_columns(path: Path, form: Format) -> list[Sentence]:
    """Read the sentences of a file, in order.

    Returns:
        For each sentence one tuple per kept column, each with one value per token.

    Raises:
        DamagedDataError: If the file cannot be read, is not UTF-8, has no sentence, or has a line with the wrong number
            of columns.
    """
    content = b"\n".join(read_lines(path))
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8 ({error})") from error
    sentences = [tuple(zip(*tokens, strict=True)) for tokens in _sentences(path, lines, form)]
    if not sentences:
        raise damaged(path, "it holds no sentence")
    tell_difference(path, content, len(sentences), "sentences")
    return sentences


def _sentences(path: Path, lines: Sequence[str], form: Format) -> Iterator[list[tuple[str, ...]]]:
    tokens: list[tuple[str, ...]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            if not form.ignored(line):
                tokens.append(_token(path, number, line, form))
        elif tokens:
            yield tokens
            tokens = []


def _token(path: Path, number: int, line: str, form: Format) -> tuple[str, ...]:
    fields = line.split(form.separator)
    if len(fields) != form.columns or not all(fields):
        raise damaged(path, f"line {number} is {line!r}, but every line has {form.columns} columns that are not empty")
    return tuple(fields[column] for column in form.kept)
