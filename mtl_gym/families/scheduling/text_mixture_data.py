"""Sources of text for a language model of bytes: reviews and an encyclopedia, or generated chains in their place.

A byte is one of 32 symbols: a letter without its case, a space, a full stop, a comma, an apostrophe, a digit, or
anything else. A sample is a window: `CONTEXT` symbols, and the symbol that follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.instances import secret
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_bytes, read_lines
from mtl_gym.data.sources.reviews import DOMAINS
from mtl_gym.data.split import SPLITS, Split

NAME = "text-mixture"
SYMBOLS, CONTEXT = 32, 3
TARGET, UNRELATED = "target", "unrelated"
RELATED = ("related 1", "related 2")
# Bytes of every source but the target; windows of every source that measure a run.
BYTES, HELD_OUT = 20_000, {"validation": 64, "test": 1000}
ENCYCLOPEDIA = "wikitext-2/train.txt"
# Share of a related chain that is its own (the rest is the target's), and the scale of a chain's log-odds.
OWN, SHARPNESS = 0.4, 1.5
LANES = 256

Symbols = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Text of a source.

    Attributes:
        train: Symbols to train on; uint8 [bytes].
        held_out: Symbols that measure; uint8 [bytes].
    """

    train: Symbols
    held_out: Symbols


Sources = dict[str, Source]


def text_mixture(sources: Sources, instance: int) -> MultiTaskDataset:
    """Return the data set of some sources: inputs uint8 [CONTEXT], 32 classes, tasks in a secret order.

    The samples of a source do not depend on the other sources.
    """
    order = secret(f"{NAME}, order", instance).permutation(len(sources))
    names = [list(sources)[place] for place in order]
    draws = [secret(f"{NAME}, windows of {name}", instance) for name in names]
    drawn = list(zip((sources[name] for name in names), draws, strict=True))
    splits = {split: _split([_windows(source, split, random) for source, random in drawn]) for split in SPLITS}
    classes = (tuple(f"{symbol:02d}" for symbol in range(SYMBOLS)),) * len(names)
    return MultiTaskDataset(NAME, splits, tuple(names), classes)


def _windows(source: Source, split: str, random: np.random.Generator) -> Symbols:
    """Return windows of a source, [samples, CONTEXT + 1]: all of its training text, or some of the held-out text."""
    if split == "train":
        return np.lib.stride_tricks.sliding_window_view(source.train, CONTEXT + 1)
    half = len(source.held_out) // 2
    text = source.held_out[:half] if split == "validation" else source.held_out[half:]
    found = np.lib.stride_tricks.sliding_window_view(text, CONTEXT + 1)
    return found[random.choice(len(found), HELD_OUT[split], replace=False)]


def _split(windows: list[Symbols]) -> Split:
    sizes, whole = torch.tensor([len(own) for own in windows]), torch.from_numpy(np.concatenate(windows))
    task = torch.arange(len(sizes)).repeat_interleave(sizes)
    return Split(whole[:, :CONTEXT].contiguous(), task, whole[:, CONTEXT].long())


def generated(target_bytes: int, junk: int, instance: int) -> MultiTaskDataset:
    """Generate the data set: chains for texts, uniform symbols for junk.

    The next symbol of a chain depends on the last two: its log-odds are the sum of a row of one matrix for each. The
    matrices of the related chains are alike to the target's, those of the unrelated one independent.

    Args:
        target_bytes: Training bytes of the target.
        junk: Number of junk sources.
        instance: Number of the hidden truth.

    Example:
        >>> data = generated(target_bytes=1000, junk=1, instance=0)
        >>> sorted(zip(data.task_names, data.task_sizes("train")))[:3]
        [('junk 1', 19997), ('related 1', 19997), ('related 2', 19997)]
    """
    random = secret(NAME, instance)
    target = _matrices(random)
    near = [np.sqrt(1 - OWN**2) * target + OWN * _matrices(random) for _ in RELATED]
    chains = {TARGET: target, **dict(zip(RELATED, near, strict=True)), UNRELATED: _matrices(random)}
    sources = {name: Source(*(_chain(random, matrices) for _ in range(2))) for name, matrices in chains.items()}
    return text_mixture(_completed(sources, target_bytes, junk, instance), instance)


def _matrices(random: np.random.Generator) -> NDArray[np.float64]:
    """Draw the log-odds after the last symbol and the one before it; float64 [2, SYMBOLS, SYMBOLS]."""
    return random.normal(0, SHARPNESS, (2, SYMBOLS, SYMBOLS))


def _chain(random: np.random.Generator, matrices: NDArray[np.float64]) -> Symbols:
    """Draw BYTES symbols, as many chains one after the other."""
    steps = -(-BYTES // LANES)
    text = random.integers(SYMBOLS, size=(steps + 2, LANES))
    for step in range(2, len(text)):
        odds = matrices[0, text[step - 1]] + matrices[1, text[step - 2]]
        text[step] = (odds + random.gumbel(size=odds.shape)).argmax(1)
    return text[2:].T.ravel()[:BYTES].astype(np.uint8)


def _completed(sources: Sources, target_bytes: int, junk: int, instance: int) -> Sources:
    """Add junk, and cut the target's training text from a secret place; a larger part contains a smaller one."""
    text = sources[TARGET].train
    start = secret(f"{NAME}, place", instance).integers(len(text))
    target = Source(np.roll(text, -start)[:target_bytes], sources[TARGET].held_out)
    names = [f"junk {number + 1}" for number in range(junk)]
    return sources | {TARGET: target} | {name: _junk(secret(f"{NAME}, {name}", instance)) for name in names}


def _junk(random: np.random.Generator) -> Source:
    return Source(*random.integers(SYMBOLS, size=(2, BYTES), dtype=np.uint8))


def is_present(root: Path) -> bool:
    """Return whether a data root has the reviews and the encyclopedia."""
    files = [ENCYCLOPEDIA, *(f"fdu-mtl/{domain}.task.{part}" for domain in DOMAINS for part in ("train", "test"))]
    return all((root / name).is_file() for name in files)


def real(root: Path, target_bytes: int, junk: int, instance: int) -> MultiTaskDataset:
    """Build the data set from reviews in three domains, which the instance draws, WikiText-2, and uniform junk.

    Args:
        root: Data root with both.
        target_bytes: Training bytes of the target.
        junk: Number of junk sources.
        instance: Number of the hidden truth.

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    random = secret(NAME, instance)
    domains = random.choice(DOMAINS, 1 + len(RELATED), replace=False)
    sources = {name: _reviews(root, domain) for name, domain in zip((TARGET, *RELATED), domains, strict=True)}
    text = _enough(root / ENCYCLOPEDIA, folded(read_bytes(root / ENCYCLOPEDIA)[: 2 * BYTES]), 2 * BYTES)
    sources[UNRELATED] = Source(text[:BYTES], text[BYTES:])
    return text_mixture(_completed(sources, target_bytes, junk, instance), instance)


def _reviews(root: Path, domain: str) -> Source:
    return Source(*(_texts(root / f"fdu-mtl/{domain}.task.{part}") for part in ("train", "test")))


def _texts(path: Path) -> Symbols:
    """Return the first BYTES symbols of the reviews in a file."""
    text = folded(b" ".join(line.partition(b"\t")[2] for line in read_lines(path)))
    return _enough(path, text)[:BYTES]


def _enough(path: Path, text: Symbols, least: int = BYTES) -> Symbols:
    if len(text) < least:
        raise damaged(path, f"it has {len(text):,} bytes of text where {least:,} are needed")
    return text


def folded(text: bytes) -> Symbols:
    r"""Return the symbol of every byte; uint8 [bytes].

    Example:
        >>> folded(b"Aa z\n.,'7?").tolist()
        [1, 1, 0, 26, 0, 27, 28, 29, 30, 31]
    """
    table = np.full(256, SYMBOLS - 1, np.uint8)
    groups = [b" \t\r\n", *(bytes([letter, letter - 32]) for letter in range(97, 123)), b".", b",", b"'", b"0123456789"]
    for symbol, group in enumerate(groups):
        table[list(group)] = symbol
    return table[np.frombuffer(text, np.uint8)]
