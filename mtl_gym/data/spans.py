"""Spans (chunks, named entities) and the tags that mark them: IOB1, BIO (IOB2) and IOBES."""

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """A marked part of a sentence: its kind, its first token, and the token behind its last."""

    kind: str
    start: int
    end: int


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans that a sentence's tags mark, in order.

    A span begins at B and S, where the kind changes, and where the token before is outside or ends a span (E, S); so
    all of IOB1, BIO and IOBES are read right, and sequences that are in none of these schemes are read as CoNLL's
    evaluation script reads them.

    Args:
        tags: "O", or one of B, I, E, S, a hyphen, and a kind.

    Raises:
        ValueError: If a tag is of another form.

    Example:
        >>> spans_of(["I-PER", "I-PER", "O", "B-LOC", "B-LOC"])
        [Span(kind='PER', start=0, end=2), Span(kind='LOC', start=3, end=4), Span(kind='LOC', start=4, end=5)]
    """
    spans: list[Span] = []
    is_open = False
    for place, tag in enumerate(tags):
        mark, kind = _parted(tag)
        if mark == "O":
            is_open = False
            continue
        if is_open and mark in "IE" and kind == spans[-1].kind:
            spans[-1] = spans[-1]._replace(end=place + 1)
        else:
            spans.append(Span(kind, place, place + 1))
        is_open = mark in "BI"
    return spans


def as_iobes(tags: Sequence[str]) -> tuple[str, ...]:
    """The same spans in IOBES: S for a span of one token, else B, I and E.

    Raises:
        ValueError: As `spans_of`.

    Example:
        >>> as_iobes(["I-PER", "I-PER", "O", "I-LOC", "B-LOC"])
        ('B-PER', 'E-PER', 'O', 'S-LOC', 'S-LOC')
    """
    marked = ["O"] * len(tags)
    for kind, start, end in spans_of(tags):
        inside = end - start - 2
        marks = "S" if inside < 0 else "B" + "I" * inside + "E"
        marked[start:end] = [f"{mark}-{kind}" for mark in marks]
    return tuple(marked)


def _parted(tag: str) -> tuple[str, str]:
    mark, _, kind = tag.partition("-")
    if tag != "O" and (mark not in ("B", "I", "E", "S") or not kind):
        raise ValueError(f"tag {tag!r} marks no span: it must be O, or B-, I-, E- or S- and a kind, such as B-NP")
    return mark, kind
