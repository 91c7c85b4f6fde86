"""Images, words and DNA: three tasks that have nothing in common.

Source: MUiR, section 4.2.

Deviation: images are those of CIFAR-100 with its 20 coarse labels; the paper uses CIFAR-10. Words are the 2,000 most
frequent of WikiText-2, all others are `<unk>`, and a text is cut into pieces that a network reads independently, each
from an empty state: perplexities are not comparable to published ones. The paper's DNA, CRISPR binding affinities, is
not public; it is generated here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.data.collection import Pair, TaskCollection, TaskData
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_lines, tell_difference
from mtl_gym.data.sources import cifar

TEXTS = {"train": "wikitext-2/train.txt", "validation": "wikitext-2/valid.txt", "test": "wikitext-2/test.txt"}
LAYOUTS = ((*cifar.PICKLES, *TEXTS.values()), (*cifar.ARRAYS, *TEXTS.values()))
WORDS, PIECE = 2000, 35
UNKNOWN, END = "<unk>", "<eos>"
BASES, MOTIFS, MOTIF, NOISE = 4, 3, 8, 0.1
DNA_LENGTH = 40
DNA_ROWS = {"train": 20_000, "validation": 2_000, "test": 2_000}
_SEED = 2019


def build(root: Path) -> TaskCollection:
    """Build the three tasks, "vision", "text" and "dna".

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    return TaskCollection("cross-modal", [vision(root), text(root), dna()])


def vision(root: Path) -> TaskData:
    """Build the task of classifying images, uint8 [3, 32, 32], by coarse label."""
    data = cifar.build(root)
    splits = {name: (split.x, split.task) for name, split in data.splits.items()}
    return TaskData("vision", "classification", splits, data.num_tasks)


def text(root: Path, words: int = WORDS, share: float = 1.0) -> TaskData:
    """Build the task of predicting the next word in pieces of 35 words; inputs and labels int64 [pieces, 35].

    Args:
        root: Folder of the data.
        words: Size of the vocabulary, from the whole training text.
        share: Share of every text, from its start.

    Example:
        >>> text(Path("nowhere"))
        Traceback (most recent call last):
        mtl_gym.data.errors.DamagedDataError: nowhere/wikitext-2/train.txt is damaged: ...
    """
    tokens = {name: _read(root / path) for name, path in TEXTS.items()}
    counts = Counter(tokens["train"])
    counts.pop(UNKNOWN, None)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: words - 1]
    number = {word: place + 1 for place, word in enumerate(frequent)}
    parts = {name: found[: int(share * len(found))] for name, found in tokens.items()}
    splits = {name: pieces(np.array([number.get(t, 0) for t in part])) for name, part in parts.items()}
    return TaskData("text", "classification", splits, len(frequent) + 1)


def pieces(tokens: npt.NDArray[np.int64], length: int = PIECE) -> Pair:
    """Cut a text into pieces; return them, and the same pieces shifted by one word.

    Example:
        >>> x, y = pieces(np.arange(8), length=3)
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    count = (len(tokens) - 1) // length
    x, y = tokens[: count * length], tokens[1 : count * length + 1]
    return torch.from_numpy(x.reshape(count, length)), torch.from_numpy(y.reshape(count, length))


def dna(seed: int = _SEED) -> TaskData:
    """Generate sequences of 40 bases, int64, and their binding strength, float32 [rows, 1], of variance about 1.

    The strength is the sum over three hidden motifs. A motif has a preference for each base at each of its 8 positions,
    and binds at the best position in the sequence.
    """
    random = np.random.default_rng(seed)
    motifs = random.normal(size=(MOTIFS, MOTIF, BASES))
    drawn = {name: _bind(random, motifs, rows) for name, rows in DNA_ROWS.items()}
    mean, deviation = drawn["train"][1].mean(), drawn["train"][1].std()
    splits = {name: (torch.from_numpy(x), _numbers((y - mean) / deviation)) for name, (x, y) in drawn.items()}
    return TaskData("dna", "regression", splits, 1)


def _bind(
    random: np.random.Generator, motifs: npt.NDArray[np.float64], rows: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    sequence = random.integers(BASES, size=(rows, DNA_LENGTH))
    windows = np.lib.stride_tricks.sliding_window_view(sequence, MOTIF, axis=1)
    strength = np.stack([motifs[:, place][:, windows[..., place]] for place in range(MOTIF)]).sum(0)
    return sequence, strength.max(-1).sum(0) + random.normal(0, NOISE, rows)


def _numbers(values: npt.NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None]


def _read(path: Path) -> list[str]:
    """Return the words of a text, with an end-of-line token after each line."""
    content = b"\n".join(read_lines(path))
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8 ({error})") from error
    tokens = [token for line in lines[:-1] for token in (*line.split(), END)]
    if len(tokens) <= PIECE:
        raise damaged(path, f"it has {len(tokens)} words, fewer than a piece of {PIECE}")
    tell_difference(path, content, len(lines) - 1, "lines")
    return tokens
