"""Bags of words: texts as vectors that say which words occur."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.split import Split
from mtl_gym.data.text import SPECIAL

WORDS = 5_000


def bag_of_words(data: MultiTaskDataset, words: int = WORDS) -> MultiTaskDataset:
    """Return a data set of texts as one of vectors: 1 for each of the most frequent words that a text has, else 0.

    Inputs are uint8 [words]. Padding, the unknown word and the order of words are dropped.

    Args:
        data: Texts with one label each; the ids of the vocabulary are in the order of frequency.
        words: Number of words, at most; the vocabulary may have fewer.

    Raises:
        ValueError: If the data set holds no texts, or labels or characters for every word.

    Example:
        >>> reviews = Split(torch.tensor([[2, 3, 3], [4, 0, 0]]), [0, 0], [0, 1])
        >>> texts = MultiTaskDataset(
        ...     "texts", dict.fromkeys(("train", "validation", "test"), reviews), ("mood",), (("bad", "good"),),
        ...     vocabulary=("<pad>", "<unk>", "not", "so", "fine"),
        ... )
        >>> bag_of_words(texts).splits["train"].x
        tensor([[1, 1, 0],
                [0, 0, 1]], dtype=torch.uint8)
    """
    if not data.has_text or data.has_sequences or data.characters:
        raise ValueError(f"data set {data.name!r} has no texts with one label each, so there are no bags of words.")
    width = min(words, len(data.vocabulary) - len(SPECIAL))
    splits = {name: Split(_bags(split.x, width), split.task, split.y) for name, split in data.splits.items()}
    return MultiTaskDataset(data.name, splits, data.task_names, data.class_names)


def _bags(ids: Tensor, width: int) -> Tensor:
    """Mark the words of each text; int [texts, steps] -> uint8 [texts, width]."""
    column = ids.numpy().astype(np.int64) - len(SPECIAL)
    text, step = np.nonzero((column >= 0) & (column < width))
    bags = np.zeros((len(ids), width), np.uint8)
    bags[text, column[text, step]] = 1
    return torch.from_numpy(bags)
