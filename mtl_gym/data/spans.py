"""Conversion between spans (chunks, named entities) and their tags in IOB1, BIO (IOB2) and IOBES."""

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Tagged span of a sentence: its kind, its first token, and the token after its last."""

    kind: str
    start: int
    end: int


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the spans of a sentence's tags, in order.

    A span begins at B and S, at a change of kind, and after a token that is outside or ends a span (E, S). This rule
    decodes IOB1, BIO and IOBES, and treats other sequences as CoNLL's evaluation script does.

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
            spans[-1] = Span(kind, spans[-1].start, place + 1)
        else:
            spans.append(Span(kind, place, place + 1))
        is_open = mark in "BI"
    return spans


def as_iobes(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags of the same spans in IOBES: S for a span of one token, else B, I and E.

    Raises:
        ValueError: As for `spans_of`.

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
        raise ValueError(f"tag {tag!r} is unknown: it must be O, or B-, I-, E- or S- and a kind, such as B-NP")
    return mark, kind
