"""CoNLL-2000: sentences of the Wall Street Journal with parts of speech and chunks.

Source: Tjong Kim Sang and Buchholz 2000. The shared task has no development set: a tenth of the training sentences is
held out for validation.
"""

from pathlib import Path

from mtl_gym.data.sources.columns import Format, Sentence, read_columns
from mtl_gym.data.sources.tagged import parts_of

FILES = ("conll2000/train.txt", "conll2000/test.txt")
POS, CHUNK = 1, 2
_FORMAT = Format(columns=3, kept=(0, POS, CHUNK))
_SEED = 20000


def read(root: Path) -> dict[str, list[Sentence]]:
    """Read words, parts of speech and chunks of each split.

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    train, test = (read_columns(root / name, _FORMAT) for name in FILES)
    return parts_of(train, test, _SEED)


def with_tags(parts: dict[str, list[Sentence]], column: int) -> dict[str, list[Sentence]]:
    """Return the words of each sentence with one kind of tags, ``POS`` or ``CHUNK``."""
    return {split: [(sentence[0], sentence[column]) for sentence in part] for split, part in parts.items()}
