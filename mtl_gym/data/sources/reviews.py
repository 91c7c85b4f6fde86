"""Sentiment of reviews in sixteen domains: fourteen Amazon product groups, IMDB, and MR.

Source: Liu, Qiu, Huang 2017 (FDU-MTL); the tasks of table 2 of QLS. The last 200 reviews of a training file are for
validation, as usual. Deviation: the distributed files share texts. Test reviews that are also in a training file of any
domain (the encoder learns from all of them) are dropped, and so are training reviews that are also validation reviews;
``reviews-leaked`` keeps them all.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import read_lines, tell_difference
from mtl_gym.data.split import SPLITS, Split
from mtl_gym.data.text import UNKNOWN, padded, token_ids, vocabulary_of

DOMAINS = (
    *("books", "electronics", "dvd", "kitchen_housewares", "apparel", "camera_photo", "health_personal_care", "music"),
    *("toys_games", "video", "baby", "magazines", "software", "sports_outdoors", "imdb", "MR"),
)
FILES = tuple(f"fdu-mtl/{domain}.task.{part}" for domain in DOMAINS for part in ("train", "test"))
CLASSES = ("negative", "positive")
# The first 256 words of each review make up 83% of all words, and cover 88% of the training reviews completely.
STEPS = 256
VALIDATION = 200
# The vocabulary covers 97% of the words in training reviews; the vector of a rarer word would hardly be trained.
_LEAST = 5


@dataclass(frozen=True)
class Review:
    """One review: its words, which identify copies, and its label, positive (1) or negative (0)."""

    words: tuple[str, ...]
    label: int


Parts = dict[str, list[Review]]


def build(root: Path) -> MultiTaskDataset:
    """Build the data set from ``root/fdu-mtl``, without the reviews that the distributed files leak.

    Inputs are int16 ``[256]``, the ids of a review's first 256 words; the vocabulary has the words that occur at least
    5 times in the training reviews. An empty review becomes one unknown word.

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    return _dataset("reviews", without_leaks(_read(root)))


def build_leaked(root: Path) -> MultiTaskDataset:
    """Build the data set as ``build``, but from the distributed files without any removal."""
    return _dataset("reviews-leaked", _read(root))


def without_leaks(domains: list[Parts]) -> list[Parts]:
    """Drop test reviews that are also training or validation reviews, and training reviews also used for validation."""
    texts = {split: {review.words for parts in domains for review in parts[split]} for split in SPLITS}
    leaks = {"train": texts["validation"], "validation": set(), "test": texts["train"] | texts["validation"]}
    return [
        {split: [review for review in parts[split] if review.words not in leaks[split]] for split in SPLITS}
        for parts in domains
    ]


def _read(root: Path) -> list[Parts]:
    parts = []
    for domain in DOMAINS:
        train, test = (_read_file(root / f"fdu-mtl/{domain}.task.{part}") for part in ("train", "test"))
        if len(train) <= VALIDATION:
            path = root / f"fdu-mtl/{domain}.task.train"
            raise damaged(path, f"it has {len(train)} reviews where more than {VALIDATION} are needed")
        parts.append({"train": train[:-VALIDATION], "validation": train[-VALIDATION:], "test": test})
    return parts


def _read_file(path: Path) -> list[Review]:
    # Some reviews hold other line-break characters, so lines are split before decoding.
    lines = read_lines(path)
    reviews = [_review(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not reviews:
        raise damaged(path, "it holds no review")
    tell_difference(path, b"\n".join(lines), len(reviews), "reviews")
    return reviews


def _review(path: Path, number: int, line: bytes) -> Review:
    label, tab, text = line.partition(b"\t")
    if not tab or label not in (b"0", b"1"):
        raise damaged(path, f"line {number} begins with {line[:20]!r}, but a line is 0 or 1, a tab, and a text")
    return Review(tuple(_decoded(text).split()), int(label))


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _dataset(name: str, domains: list[Parts]) -> MultiTaskDataset:
    vocabulary = vocabulary_of(
        (word for parts in domains for review in parts["train"] for word in _words(review)), _LEAST
    )
    splits = {split: _split([parts[split] for parts in domains], vocabulary) for split in SPLITS}
    return MultiTaskDataset(name, splits, DOMAINS, (CLASSES,) * len(DOMAINS), vocabulary=vocabulary)


def _split(domains: list[list[Review]], vocabulary: tuple[str, ...]) -> Split:
    texts = [_words(review) for reviews in domains for review in reviews]
    ids = token_ids((word for words in texts for word in words), vocabulary)
    dtype = np.int16 if len(vocabulary) <= np.iinfo(np.int16).max else np.int32
    return Split(
        x=torch.from_numpy(padded(ids.astype(dtype), [len(words) for words in texts], STEPS)),
        task=torch.tensor([task for task, reviews in enumerate(domains) for _ in reviews]),
        y=torch.tensor([review.label for reviews in domains for review in reviews]),
    )


def _words(review: Review) -> list[str]:
    return list(review.words[:STEPS]) or [UNKNOWN]
