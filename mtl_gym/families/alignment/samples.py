"""Stacked samples of tasks whose architectures run together, with their losses and accuracies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mtl_gym.data.collection import Pair, TaskData

# Maximum number of output values in memory at once.
ANSWERS_AT_ONCE = 4_000_000
MOST_ROWS = 512


def data_key(task: TaskData) -> tuple[object, ...]:
    """Return a key that is equal only for tasks that can be stacked."""
    shapes = [(tuple(x.shape), tuple(y.shape), x.dtype) for x, y in task.splits.values()]
    return task.kind, task.outputs, *shapes


class Samples:
    """Samples of the tasks of one stack of architectures.

    Args:
        tasks: Tasks of equal kind and shapes.
        number: Number of the stack, part of the seed of its draws.
        minibatch: Training samples of each task in a gradient step; None for all.
    """

    def __init__(self, tasks: Sequence[TaskData], number: int, minibatch: int | None) -> None:
        self.kind, self.outputs, self.number = tasks[0].kind, tasks[0].outputs, number
        self.splits = {name: _stacked([task.splits[name] for task in tasks]) for name in tasks[0].splits}
        self.members = torch.arange(len(tasks), device=self.splits["train"][0].device)
        rows = self.splits["train"][0].shape[1]
        self.minibatch = minibatch if minibatch is not None and minibatch < rows else None

    def draw(self, split: str, seeds: Sequence[int], update: int) -> Pair:
        """Draw the samples of a gradient step with replacement, separately for each run; or return all samples.

        Returns:
            Inputs and outputs [runs, members, minibatch, ...], or [members, rows, ...].
        """
        x, y = self.splits[split]
        if self.minibatch is None:
            return x, y
        size = (len(self.members), self.minibatch)
        rows = [np.random.default_rng([seed, self.number, update]).integers(x.shape[1], size=size) for seed in seeds]
        index = torch.from_numpy(np.stack(rows)).to(x.device)
        return x[self.members[:, None], index], y[self.members[:, None], index]

    def part(self, split: str, limit: int | None) -> list[Pair]:
        """Return the first `limit` samples of each task in parts; [members, rows, ...] each."""
        x, y = (part[:, :limit] for part in self.splits[split])
        answer = len(self.members) * self.outputs * y[0, 0].numel()
        rows = max(1, min(MOST_ROWS, ANSWERS_AT_ONCE // answer))
        return list(zip(x.split(rows, 1), y.split(rows, 1), strict=True))

    def losses(self, answers: Tensor, y: Tensor) -> Tensor:
        """Return the squared error or cross-entropy of each sample, mean over outputs or steps; [runs, members, rows].

        Args:
            answers: float32 [runs, members, rows, ..., outputs].
            y: Labels from `draw` or `part`.
        """
        if self.kind == "regression":
            return (answers - y).square().mean(-1)
        y = y.expand(answers.shape[:-1])
        flat = functional.cross_entropy(answers.flatten(0, -2), y.flatten(), reduction="none")
        return flat.view(y.shape).flatten(3).mean(-1) if y.ndim > 3 else flat.view(y.shape)

    def right(self, answers: Tensor, y: Tensor) -> Tensor:
        """Return the share of right labels of each sample or, for a regression, the negative mean squared error."""
        if self.kind == "regression":
            return -(answers - y).square().mean(-1)
        right = (answers.argmax(-1) == y).float()
        return right.flatten(3).mean(-1) if right.ndim > 3 else right

    def accuracy(self, right: Tensor, split: str, limit: int | None) -> Tensor:
        """Return the share of right labels, or of variance explained by a regression; [runs, members] in [0, 1].

        Args:
            right: Mean of `right` over the samples; float32 [runs, members].
            split: Split of the samples.
            limit: As for `part`.
        """
        if self.kind != "regression":
            return right
        y = self.splits[split][1][:, :limit]
        variance = (y - y.mean(1, keepdim=True)).square().mean((1, 2)).clamp(min=torch.finfo(y.dtype).tiny)
        return (1 + right / variance).clamp(0, 1)


def _stacked(pairs: Sequence[Pair]) -> Pair:
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
