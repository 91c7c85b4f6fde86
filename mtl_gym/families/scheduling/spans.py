"""Precision, recall and F1 over spans: a span is right only if its type, start and end are right.

Source: Tjong Kim Sang and Buchholz 2000, section 4 (the measure of CoNLL's shared tasks and of QLS, table 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.spans import spans_of


@dataclass(frozen=True)
class SpanScore:
    """Counts of right, predicted and true spans.

    Attributes:
        right: Predicted spans that are true.
        marked: Predicted spans.
        real: True spans.

    Example:
        >>> score = SpanScore(right=1, marked=2, real=4)
        >>> score.precision, score.recall, round(score.f1, 3)
        (0.5, 0.25, 0.333)
    """

    right: int
    marked: int
    real: int

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are true; 0 without predicted spans."""
        return self.right / max(self.marked, 1)

    @property
    def recall(self) -> float:
        """Share of the true spans that are predicted; 0 without true spans."""
        return self.right / max(self.real, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if no span is right."""
        return 2 * self.right / max(self.marked + self.real, 1)


def span_score(predicted: Iterable[Sequence[str]], real: Iterable[Sequence[str]]) -> SpanScore:
    """Compare predicted and true tags of sentences, in BIO, IOB1 or IOBES.

    Args:
        predicted: Predicted tags of each sentence.
        real: True tags of each sentence.

    Raises:
        ValueError: If the numbers of sentences or of tags in a sentence differ, or a tag is not a span tag.

    Example:
        >>> span_score([["B-NP", "I-NP", "O"]], [["B-NP", "I-NP", "B-VP"]])
        SpanScore(right=1, marked=1, real=2)
    """
    counts = [_counts(*sentence) for sentence in zip(predicted, real, strict=True)]
    return SpanScore(*(sum(column) for column in zip(*counts, strict=True))) if counts else SpanScore(0, 0, 0)


def span_score_of_labels(predicted: Tensor, real: Tensor, tags: Sequence[str]) -> SpanScore:
    """Compare label sequences.

    Args:
        predicted: int64 [rows, steps].
        real: int64 [rows, steps], -1 after the end of a row; predictions there are ignored.
        tags: Tag of each label: the class names of the task.

    Example:
        >>> import torch
        >>> span_score_of_labels(torch.tensor([[0, 0]]), torch.tensor([[0, -1]]), ["B-NP", "O"])
        SpanScore(right=1, marked=1, real=1)
    """
    lengths = (real >= 0).sum(1).tolist()
    named = (
        [[tags[label] for label in row[:length]] for row, length in zip(labels.tolist(), lengths, strict=True)]
        for labels in (predicted, real)
    )
    return span_score(*named)


def f1_by_task(predicted: Tensor, real: Tensor, data: MultiTaskDataset) -> dict[str, float]:
    """Return the F1 of each task whose tags mark spans, over the sentences of all runs, by task name.

    Args:
        predicted: int64 [runs, tasks, samples, steps].
        real: int64 [tasks, samples, steps], -1 after the end of a sentence.
        data: Data set of the tasks.
    """
    scores = {}
    for task, (name, tags) in enumerate(zip(data.task_names, data.class_names, strict=True)):
        if marks_spans(tags):
            labels = predicted[:, task].flatten(0, 1)
            scores[name] = span_score_of_labels(labels, real[task].repeat(len(predicted), 1), tags).f1
    return scores


def marks_spans(tags: Sequence[str]) -> bool:
    """Return whether all tags mark spans, such as B-NP and O.

    Example:
        >>> marks_spans(["B-NP", "I-NP", "O"]), marks_spans(["NN", "VB"])
        (True, False)
    """
    return all(tag == "O" or tag[:2] in ("B-", "I-", "E-", "S-") for tag in tags)


def _counts(predicted: Sequence[str], real: Sequence[str]) -> tuple[int, int, int]:
    if len(predicted) != len(real):
        raise ValueError(f"A sentence of {len(real)} tokens has {len(predicted)} predicted tags: give one per token.")
    marked, there = set(spans_of(predicted)), set(spans_of(real))
    return len(marked & there), len(marked), len(there)
