"""Pre-trained word vectors."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.core.validation import complaint, short
from mtl_gym.data.checks import read_names
from mtl_gym.data.errors import MissingDataError, damaged

_LOG = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]


def word_vectors(path: str | Path, vocabulary: Sequence[str], width: int, seed: int = 0) -> Tensor:
    r"""Read the vectors of a vocabulary from a file in GloVe's text format: one word per line, followed by its numbers.

    Args:
        path: The file, UTF-8.
        vocabulary: Vocabulary of a data set: padding, the unknown word, and words.
        width: Numbers per word in the file.
        seed: Seed of the vectors of words missing from the file, which are uniform in +-sqrt(3 / width).

    Returns:
        float32 ``[words, width]``, in the order of the vocabulary; padding is 0. The number of words in the file is
        logged.

    Raises:
        MissingDataError: If there is no such file.
        DamagedDataError: If the file cannot be read as UTF-8, or a line has not exactly ``width`` finite numbers after
            its word; the message names the line.
        ValueError: If the vocabulary or the width is invalid.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     _ = file.write("the 0.5 1\nof 2 3\n")
        ...     file.flush()
        ...     word_vectors(file.name, ("<pad>", "<unk>", "of"), width=2)[2]
        tensor([2., 3.])
    """
    path, vocabulary = Path(path), read_names("word vectors", "vocabulary", vocabulary)
    if complaint("width", width, int) or width < 1:
        raise ValueError(f"width={short(width)} is not possible; it takes a whole number of 1 or more")
    if not path.is_file():
        raise MissingDataError(
            f"there is no file of word vectors {str(path)!r}; get GloVe's from "
            "https://nlp.stanford.edu/projects/glove, or use any text file with a word and its numbers in each line"
        )
    bound = math.sqrt(3 / width)
    vectors = np.random.default_rng(seed).uniform(-bound, bound, (len(vocabulary), width)).astype(np.float32)
    vectors[0] = 0
    found = _fill(vectors, path, {word: row for row, word in enumerate(vocabulary)})
    _LOG.info("%s has vectors for %d of %d words", path, found, len(vocabulary))
    return torch.from_numpy(vectors)


def _fill(vectors: Vectors, path: Path, rows: dict[str, int]) -> int:
    """Copy the file's vectors to their rows and return their number; the first of several vectors of a word counts."""
    wanted = dict(rows)
    try:
        # Only line feeds end a line: some of GloVe's words are other line-break characters.
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                word, values = _parted(path, number, line, vectors.shape[1])
                if word in wanted:
                    vectors[wanted.pop(word)] = _numbers(path, number, values)
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8 ({error})") from error
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from error
    return len(rows) - len(wanted)


def _parted(path: Path, number: int, line: str, width: int) -> tuple[str, list[str]]:
    # Split from the right, because a few of GloVe's words hold spaces. In the first line a space in the word means
    # that the width is wrong.
    word, *values = line.rstrip("\r\n").rsplit(" ", width)
    if len(values) != width or (number == 1 and " " in word):
        raise damaged(path, f"line {number} has {line.count(' ')} numbers after its word where {width} are needed")
    return word, values


def _numbers(path: Path, number: int, values: list[str]) -> Vectors:
    try:
        vector = np.array(values, np.float32)
    except ValueError as error:
        raise damaged(path, f"line {number} holds something other than numbers ({error})") from error
    if not np.isfinite(vector).all():
        raise damaged(path, f"line {number} holds a number that is not finite")
    return vector
