"""Translation, tagging and parsing of a generated language, each as the prediction of one sequence from another.

An input has two columns: the words of the source, and the labels of the steps before (teacher forcing), which
`translation_network.decoded` replaces by a network's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import NO_LABEL, SPLITS, Split
from mtl_gym.data.text import padded
from mtl_gym.families.scheduling.translation_grammar import NAME, Language, Sentence

TRANSLATION, TAGGING, PARSING = "translation", "tagging", "parsing"
HELPERS = (TAGGING, PARSING)
TASKS = (TRANSLATION, *HELPERS)
# Sentences of the tasks that help; held-out sentences of every task.
MANY, HELD_OUT = 5000, {"validation": 100, "test": 400}
END = "</s>"

Ids = NDArray[np.int64]


@lru_cache(maxsize=4)
def translation(pairs: int, instance: int) -> MultiTaskDataset:
    """Generate the data set: inputs int16 [steps, 2], a label per step.

    The sentences of every task and split are drawn on their own, and short ones recur: 0.3% of the test sentences of
    translation are also among its training sentences, and 7% among those of any task (instance 0).

    Args:
        pairs: Training sentences of translation; tagging and parsing have 5,000 each.
        instance: Number of the language.

    Example:
        >>> translation(pairs=100, instance=0).task_sizes("train")
        (100, 5000, 5000)
    """
    language = Language(instance)
    counts = {"train": {TRANSLATION: pairs, TAGGING: MANY, PARSING: MANY}}
    counts |= {split: dict.fromkeys(TASKS, count) for split, count in HELD_OUT.items()}
    drawn = {
        split: {task: language.sentences(f"{task}, {split}", count) for task, count in counts[split].items()}
        for split in SPLITS
    }
    everything = [sentence for tasks in drawn.values() for sentences in tasks.values() for sentence in sentences]
    words = {word: number for number, word in enumerate(_sorted(s.words for s in everything), 1)}
    classes = tuple(_sorted(_labels(task, sentence) for sentence in everything) for task in TASKS)
    steps = max(len(_labels(TRANSLATION, sentence)) for sentence in everything)
    splits = {split: _split(drawn[split], words, classes, steps) for split in SPLITS}
    return MultiTaskDataset(NAME, splits, TASKS, classes)


def before(label: Ids, first: int) -> Ids:
    """Return the numbers of the labels before each step, 0 at the start; int64 [rows, steps] -> [rows, steps].

    Args:
        label: Labels, below 0 after the end.
        first: Number of the task's first label in the vocabulary that all tasks share, from 1.
    """
    shifted = np.where(label >= 0, label + first, 0)[:, :-1]
    return np.pad(shifted, ((0, 0), (1, 0)))


def firsts(num_classes: Sequence[int]) -> list[int]:
    """Return the number of each task's first label in the vocabulary that all tasks share, from 1.

    Example:
        >>> firsts([3, 2, 4])
        [1, 4, 6]
    """
    return [1 + sum(num_classes[:task]) for task in range(len(num_classes))]


def _labels(task: str, sentence: Sentence) -> tuple[str, ...]:
    if task == TRANSLATION:
        return (*sentence.translation, END)
    return sentence.tags if task == TAGGING else sentence.heads


def _sorted(sequences: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted({item for sequence in sequences for item in sequence}))


def _split(
    tasks: dict[str, list[Sentence]], words: dict[str, int], classes: Sequence[Sequence[str]], steps: int
) -> Split:
    parts = []
    for task, names, first in zip(TASKS, classes, firsts([len(names) for names in classes]), strict=True):
        numbers = {name: number for number, name in enumerate(names)}
        source = _filled([[words[word] for word in s.words] for s in tasks[task]], steps, 0)
        label = _filled([[numbers[name] for name in _labels(task, s)] for s in tasks[task]], steps, NO_LABEL)
        parts.append((np.stack([source, before(label, first)], -1).astype(np.int16), label))
    x, y = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
    sizes = torch.tensor([len(tasks[task]) for task in TASKS])
    return Split(x, torch.arange(len(TASKS)).repeat_interleave(sizes), y)


def _filled(rows: Sequence[Sequence[int]], steps: int, padding: int) -> Ids:
    flat = np.array([number for row in rows for number in row], np.int64)
    return padded(flat, [len(row) for row in rows], steps, padding)
