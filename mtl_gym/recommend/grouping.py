"""Groups of tasks from answers that the network of each task gives on the held-out samples of all tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.rows import Rows

Floats = NDArray[np.float64]
DRAWS = 100


@dataclass(frozen=True)
class HeldOutAnswers:
    """Answers of the network of each task on held-out samples of all tasks.

    Attributes:
        scores: Score of each class; float32 [seeds, tasks, samples, classes]. Scores of two networks can be averaged.
        label: Right class of each sample; int64 [samples].
        task: Task of each sample; int64 [samples].

    Example:
        >>> answers = HeldOutAnswers(np.zeros((3, 2, 4, 5), np.float32), np.arange(4), np.array([0, 0, 0, 1]))
        >>> answers.tasks, answers.weight().round(2)
        (2, array([0.17, 0.17, 0.17, 0.5 ]))
    """

    scores: NDArray[np.float32]
    label: Rows
    task: Rows

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return self.scores.shape[1]

    def weight(self) -> Floats:
        """Return the weight of each sample in the mean accuracy over tasks; float64 [samples]."""
        return 1 / np.bincount(self.task, minlength=self.tasks)[self.task] / self.tasks

    def redrawn(self, random: np.random.Generator) -> tuple[HeldOutAnswers, Rows]:
        """Draw seeds, and samples of each task, with replacement; return the answers and the count of each sample."""
        seeds = random.integers(len(self.scores), size=len(self.scores))
        counts = np.zeros(len(self.task), np.int64)
        for task in range(self.tasks):
            rows = np.flatnonzero(self.task == task)
            counts[rows] = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)))
        return HeldOutAnswers(self.scores[seeds], self.label, self.task), counts


def agglomerate(answers: HeldOutAnswers, counts: Rows | None = None) -> Rows:
    """Merge groups of tasks until every merger lowers held-out accuracy by more than its standard error.

    A group answers by the mean of the scores of its tasks' networks, each trained on its own task alone. At first each
    task is a group; then the two groups whose merger gains most are merged, again and again. Tasks that agree gain, for
    their networks learned from other samples; tasks that contradict each other lose. One network trained on all tasks
    of a group gains more than this mean, so that a loss within one standard error is allowed.

    Source: Our own; agglomeration with a general objective is that of Ward 1963, the allowance of one standard error
    that of Breiman et al. 1984, section 3.4.3.

    Args:
        answers: The answers.
        counts: Copies of each sample, with the same sum over the samples of a task as by default, one of each; int64
            [samples].

    Returns:
        Group of each task, numbered in the order of their first tasks; int64 [tasks].

    Example:
        >>> scores = np.zeros((1, 3, 12, 2), np.float32)  # networks 0 and 2 answer 0, network 1 answers 1
        >>> scores[:, [0, 2], :, 0] = scores[:, 1, :, 1] = 1
        >>> agglomerate(HeldOutAnswers(scores, np.repeat([0, 1, 0], 4), np.repeat([0, 1, 2], 4)))
        array([0, 1, 0])
    """
    groups = _Groups(answers, np.ones_like(answers.task) if counts is None else counts)
    while groups.merge_best():
        pass
    return numbered(groups.group)


def together(answers: HeldOutAnswers, random: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Return how often two tasks fall into one group when seeds and samples are drawn anew.

    Args:
        answers: The answers.
        random: Generator of the draws.
        draws: Number of bootstrap draws.

    Returns:
        Shares of the draws; float64 [tasks, tasks].
    """
    found = [agglomerate(*answers.redrawn(random)) for _ in range(draws)]
    return np.mean([group[:, None] == group for group in found], axis=0)


def numbered(group: Rows) -> Rows:
    """Number groups in the order of their first tasks; int64 [tasks].

    Example:
        >>> numbered(np.array([7, 3, 7, 5]))
        array([0, 1, 0, 2])
    """
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


class _Groups:
    """Groups under way, and what the merger of any two would gain."""

    def __init__(self, answers: HeldOutAnswers, counts: Rows) -> None:
        self.answers, self.counts, self.weight = answers, counts, answers.weight()
        self.group = np.arange(answers.tasks)
        self.sums = {task: answers.scores[:, task] for task in range(answers.tasks)}
        pairs = [(first, second) for first in self.sums for second in self.sums if first < second]
        self.mergers = {pair: self._merger(*pair) for pair in pairs}

    def _merger(self, first: int, second: int) -> tuple[float, float]:
        """Return gain in accuracy and standard error of a merger."""
        group = self.group[self.answers.task]
        rows = np.flatnonzero((group == first) | (group == second))
        one, other = self.sums[first][:, rows], self.sums[second][:, rows]
        own = np.where((group[rows] == first)[:, None], one, other)
        right, before = (scores.argmax(-1) == self.answers.label[rows] for scores in (one + other, own))
        gains, counts = self.weight[rows] * (right.mean(0) - before.mean(0)), self.counts[rows]
        # A sample drawn c times is c samples: c enters the variance once.
        return float((counts * gains).sum()), float(np.sqrt((counts * gains**2).sum()))

    def merge_best(self) -> bool:
        """Carry out the merger that gains most; return False if every one loses more than its standard error."""
        possible = {pair: gain for pair, (gain, error) in self.mergers.items() if gain >= -error}
        if not possible:
            return False
        first, second = max(possible, key=possible.__getitem__)
        self.sums[first] = self.sums[first] + self.sums.pop(second)
        self.group[self.group == second] = first
        self.mergers = {pair: merger for pair, merger in self.mergers.items() if not {first, second} & set(pair)}
        pairs = [(min(first, other), max(first, other)) for other in self.sums if other != first]
        self.mergers |= {pair: self._merger(*pair) for pair in pairs}
        return True
