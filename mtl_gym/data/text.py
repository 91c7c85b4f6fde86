"""From words to token ids: vocabularies, and texts as rows of one length."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

PADDING, UNKNOWN = "<pad>", "<unk>"
SPECIAL = (PADDING, UNKNOWN)

Ids = npt.NDArray[np.int64]


def vocabulary_of(tokens: Iterable[str], least: int = 2) -> tuple[str, ...]:
    """The tokens that occur often enough, most frequent first, behind padding (0) and the unknown token (1).

    Args:
        tokens: Of the training texts, repetitions included.
        least: How often a token must occur. Above 1 some training tokens are unknown, which trains the vector of the
            unknown token as well.

    Returns:
        Tokens of equal frequency stand in alphabetical order, so that their ids never depend on the order of the texts.

    Example:
        >>> vocabulary_of("the cat and the dog and the bird".split())
        ('<pad>', '<unk>', 'the', 'and')
    """
    counts = Counter(tokens)
    for token in SPECIAL:
        counts.pop(token, None)
    kept = [token for token, count in counts.items() if count >= least]
    return SPECIAL + tuple(sorted(kept, key=lambda token: (-counts[token], token)))


def token_ids(tokens: Iterable[str], vocabulary: Sequence[str]) -> Ids:
    """Position of each token in the vocabulary, 1 for those that are not in it; int64 ``[tokens]``.

    Example:
        >>> token_ids(["the", "platypus"], ("<pad>", "<unk>", "the")).tolist()
        [2, 1]
    """
    numbers = {token: number for number, token in enumerate(vocabulary) if number >= len(SPECIAL)}
    return np.array([numbers.get(token, 1) for token in tokens], np.int64)


def spelled_ids(tokens: Sequence[str], vocabulary: Sequence[str], characters: Sequence[str], longest: int) -> Ids:
    """Each token's id, and behind it those of its first characters.

    The token is looked up in lower case; its characters are as they are, so that capitals are known by them.

    Args:
        tokens: The tokens.
        vocabulary: Words in lower case.
        characters: Single characters.
        longest: Characters of a token that are kept.

    Returns:
        int64 ``[tokens, 1 + longest]``, padded with 0.

    Example:
        >>> spelled_ids(["Cab"], ("<pad>", "<unk>", "cab"), ("<pad>", "<unk>", "a", "b"), longest=4).tolist()
        [[2, 1, 2, 3, 0]]
    """
    distinct = {token: row for row, token in enumerate(dict.fromkeys(tokens))}
    table = np.zeros((len(distinct), 1 + longest), np.int64)
    table[:, 0] = token_ids((token.lower() for token in distinct), vocabulary)
    letters = [token[:longest] for token in distinct]
    inside = np.arange(longest) < np.array([len(word) for word in letters])[:, None]
    table[:, 1:][inside] = token_ids("".join(letters), characters)
    return table[[distinct[token] for token in tokens]]


def padded(flat: Ids, lengths: Sequence[int], steps: int, padding: int = 0) -> Ids:
    """Rows of one length, each with its part of a flat sequence and padding behind.

    Args:
        flat: The rows' values one after the other, ``[sum of lengths, ...]``.
        lengths: Of the rows, each at most ``steps``.
        steps: Length of all rows.
        padding: What stands behind a row's end.

    Returns:
        ``[rows, steps, ...]``, of the dtype of ``flat``.

    Raises:
        ValueError: A row is longer than ``steps``, or the lengths do not come to that of ``flat``.

    Example:
        >>> padded(np.array([5, 6, 7]), [1, 2], steps=3).tolist()
        [[5, 0, 0], [6, 7, 0]]
    """
    longest = max(lengths, default=0)
    if longest > steps:
        row = list(lengths).index(longest)
        raise ValueError(f"row {row} has {longest} tokens, more than steps={steps}; cut it, or give more steps")
    if sum(lengths) != len(flat):
        raise ValueError(
            f"the rows have {sum(lengths)} tokens in all, but flat has {len(flat)}; give one length per row"
        )
    rows = np.full((len(lengths), steps, *flat.shape[1:]), padding, flat.dtype)
    rows[np.arange(steps) < np.asarray(lengths)[:, None]] = flat
    return rows
