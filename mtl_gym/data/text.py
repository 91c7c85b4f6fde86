"""Conversion of words to token ids: vocabularies, and texts padded to one length."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

PADDING, UNKNOWN = "<pad>", "<unk>"
SPECIAL = (PADDING, UNKNOWN)

Ids = npt.NDArray[np.int64]


def vocabulary_of(tokens: Iterable[str], least: int = 2) -> tuple[str, ...]:
    """Return a vocabulary: padding (0), the unknown token (1), and the frequent tokens, most frequent first.

    Args:
        tokens: Tokens of the training texts, with repetitions.
        least: Minimum number of occurrences. Above 1 some training tokens are unknown, which also trains the vector of
            the unknown token.

    Returns:
        The vocabulary; tokens of equal frequency are in alphabetical order, so that ids do not depend on the order of
        the texts.

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
    """Return the position of each token in the vocabulary, 1 for unknown tokens; int64 ``[tokens]``.

    Example:
        >>> token_ids(["the", "platypus"], ("<pad>", "<unk>", "the")).tolist()
        [2, 1]
    """
    numbers = {token: number for number, token in enumerate(vocabulary) if number >= len(SPECIAL)}
    return np.array([numbers.get(token, 1) for token in tokens], np.int64)


def spelled_ids(tokens: Sequence[str], vocabulary: Sequence[str], characters: Sequence[str], longest: int) -> Ids:
    """Return the id of each token, followed by the ids of its first characters.

    Tokens are looked up in lower case, characters in their own case, so that the characters preserve capitals.

    Args:
        tokens: The tokens.
        vocabulary: Words in lower case.
        characters: Single characters.
        longest: Maximum number of characters per token.

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
    """Cut a flat sequence into rows and pad them to one length.

    Args:
        flat: Concatenated values of the rows, ``[sum of lengths, ...]``.
        lengths: Length of each row, at most ``steps``.
        steps: Length of the padded rows.
        padding: Value after the end of a row.

    Returns:
        ``[rows, steps, ...]``, of the dtype of ``flat``.

    Raises:
        ValueError: If a row is longer than ``steps``, or the sum of the lengths is not the length of ``flat``.

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
