"""Tasks of sentences with one tag per token over a common vocabulary, and their held-out splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.sources.columns import Sentence
from mtl_gym.data.split import NO_LABEL, SPLITS, Split
from mtl_gym.data.text import padded, spelled_ids, vocabulary_of

CHARACTERS = 16
SHARE = 0.1

Parts = Mapping[str, Sequence[Sentence]]


@dataclass(frozen=True, eq=False)
class _Vocabularies:
    words: tuple[str, ...]
    characters: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    steps: int


def tagging_dataset(name: str, tasks: Mapping[str, Parts]) -> MultiTaskDataset:
    """Build a data set of tagged sentences.

    Args:
        name: Name of the data set.
        tasks: Sentences of each task and split, each a tuple of words and a tuple of tags.

    Returns:
        The data set. Inputs are int16 ``[steps, 17]``: a word's id (lower case) and the ids of its first 16 characters;
        ``steps`` is the length of the longest sentence. The vocabularies have the words and characters that occur at
        least twice in the training sentences of all tasks, each sentence counted once. Classes are the tags of a task
        in alphabetical order.
    """
    known = _vocabularies(tasks)
    splits = {split: _joined([parts[split] for parts in tasks.values()], known) for split in SPLITS}
    return MultiTaskDataset(name, splits, tuple(tasks), known.tags, vocabulary=known.words, characters=known.characters)


def held_out(
    sentences: Sequence[Sentence], seed: int, share: float = SHARE, elsewhere: Sequence[Sentence] = ()
) -> tuple[list[int], list[int]]:
    """Split training sentences into training and validation sentences.

    Args:
        sentences: Sentences of the training file.
        seed: Seed of the random choice.
        share: Share of the eligible sentences to hold out.
        elsewhere: Sentences of the test file.

    Returns:
        Rows of training sentences and rows of validation sentences, ascending. Only sentences whose words occur once
        in both files are eligible for validation.
    """
    counts: dict[tuple[str, ...], int] = {}
    for sentence in (*sentences, *elsewhere):
        counts[sentence[0]] = counts.get(sentence[0], 0) + 1
    unique = [row for row, sentence in enumerate(sentences) if counts[sentence[0]] == 1]
    count = max(1, round(share * len(unique)))
    chosen = set(np.random.default_rng(seed).permutation(unique)[:count].tolist())
    return [row for row in range(len(sentences)) if row not in chosen], sorted(chosen)


def parts_of(train: Sequence[Sentence], test: Sequence[Sentence], seed: int) -> dict[str, list[Sentence]]:
    """Return the three splits of two files; the validation sentences come from the first, as in `held_out`."""
    rows, validation = held_out(train, seed, elsewhere=test)
    return {"train": [train[row] for row in rows], "validation": [train[row] for row in validation], "test": list(test)}


def _vocabularies(tasks: Mapping[str, Parts]) -> _Vocabularies:
    everything = [sentence for parts in tasks.values() for split in SPLITS for sentence in parts[split]]
    # Tasks may share sentences, whose words would be counted twice.
    training = dict.fromkeys(sentence[0] for parts in tasks.values() for sentence in parts["train"])
    words = [word for sentence in training for word in sentence]
    tags = [{tag for split in SPLITS for sentence in parts[split] for tag in sentence[1]} for parts in tasks.values()]
    return _Vocabularies(
        words=vocabulary_of(word.lower() for word in words),
        characters=vocabulary_of(character for word in words for character in word),
        tags=tuple(tuple(sorted(found)) for found in tags),
        steps=max(len(sentence[0]) for sentence in everything),
    )


def _joined(parts: Sequence[Sequence[Sentence]], known: _Vocabularies) -> Split:
    sentences = [sentence for part in parts for sentence in part]
    lengths = [len(sentence[0]) for sentence in sentences]
    words = [word for sentence in sentences for word in sentence[0]]
    ids = spelled_ids(words, known.words, known.characters, CHARACTERS)
    # Characters make the inputs large: int64 would take four times the memory.
    dtype = np.int16 if max(len(known.words), len(known.characters)) <= np.iinfo(np.int16).max else np.int32
    labels = [
        number
        for part, tags in zip(parts, known.tags, strict=True)
        for number in _labels(part, {tag: number for number, tag in enumerate(tags)})
    ]
    return Split(
        x=torch.from_numpy(padded(ids.astype(dtype), lengths, known.steps)),
        task=torch.tensor([task for task, part in enumerate(parts) for _ in part]),
        y=torch.from_numpy(padded(np.array(labels, np.int64), lengths, known.steps, NO_LABEL)),
    )


def _labels(sentences: Sequence[Sentence], numbers: Mapping[str, int]) -> list[int]:
    return [numbers[tag] for sentence in sentences for tag in sentence[1]]
