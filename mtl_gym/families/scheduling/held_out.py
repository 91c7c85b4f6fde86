"""Loss, accuracy and uncertainty of all runs on held-out data, and the observation computed from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import NO_LABEL
from mtl_gym.families.scheduling.minibatches import rows_of_tasks
from mtl_gym.families.scheduling.objectives import Objective, Scores, TaskClasses, right
from mtl_gym.families.scheduling.padding import Padding
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.uncertainty import MEASURES, hardest, histograms

Result = TypeVar("Result")


class Counted:
    """Labels of held-out samples, padded to the task with the most samples.

    Args:
        labels: Number of labels of a sample, 0 for padding; float32 [1, tasks, samples], or [tasks, 1, samples] where
            runs have a task each.

    Attributes:
        real: False for padding; bool in the shape of `labels`.
        of_task: Numbers of samples and of labels of each task; float32 [2, 1, tasks] or [2, tasks, 1].
        padded: Whether there is padding.
    """

    def __init__(self, labels: Tensor) -> None:
        self.real = labels > 0
        self.of_task = torch.stack([self.real.sum(-1).float(), labels.sum(-1)])
        self.padded = not bool(self.real.all())


@dataclass(frozen=True)
class HeldOutFigures:
    """Figures of every run for every held-out sample, padded to the task with the most samples.

    Attributes:
        loss_and_right: `loss` and `right`; float32 [2, runs, tasks, samples].
        uncertainty: float32 [runs, tasks, samples], in [0, 1].
        counted: The samples.
    """

    loss_and_right: Tensor
    uncertainty: Tensor
    counted: Counted

    @property
    def loss(self) -> Tensor:
        """Losses; float32 [runs, tasks, samples]."""
        return self.loss_and_right[0]

    @property
    def right(self) -> Tensor:
        """Numbers of correctly predicted labels; float32 [runs, tasks, samples]."""
        return self.loss_and_right[1]

    def per_task(self) -> Tensor:
        """Return mean losses over each task's samples, and shares of its labels that are predicted correctly.

        float32 [2, runs, tasks].
        """
        figures = self.loss_and_right * self.counted.real if self.counted.padded else self.loss_and_right
        return figures.sum(-1) / self.counted.of_task

    def task_loss(self) -> Tensor:
        """Return the mean loss over each task's samples; float32 [runs, tasks]."""
        return self.per_task()[0]

    def task_accuracy(self) -> Tensor:
        """Return the share of each task's labels that are predicted correctly; float32 [runs, tasks]."""
        return self.per_task()[1]

    def histograms(self, hard_samples: int, bins: int) -> Tensor:
        """Return each task's histogram of uncertainty over its samples of highest loss; float32 [runs, tasks, bins].

        Without bins, nothing is computed.

        Source: QLS, section 4.3, "State".

        Deviation: the paper adopts "batch hard samples" from triplet learning without defining "hard"; we take the
        samples of highest loss.
        """
        if not bins:
            return self.uncertainty.new_zeros(*self.uncertainty.shape[:2], 0)
        there = self.counted.real.expand_as(self.uncertainty) if self.counted.padded else None
        if hard_samples >= self.uncertainty.shape[2]:
            return histograms(self.uncertainty, there, bins)
        where = hardest(self.loss if there is None else self.loss.masked_fill(~there, -torch.inf), hard_samples)
        return histograms(self.uncertainty.gather(-1, where), None if there is None else there.gather(-1, where), bins)


class _Read(NamedTuple):
    """Scores and labels of some samples of all runs, flattened to rows, and the task of each group of rows."""

    scores: Scores
    label: Tensor
    task: Tensor


class HeldOut:
    """One split, or a fixed stratified sample of each of its tasks.

    Args:
        data: Data set, on the device of the runs.
        split: Name of the split.
        objective: Loss, predictions and probabilities of scores.
        measure: A name in `MEASURES`; None for an uncertainty of 0.
        limit: Samples of each task; None for all.

    Attributes:
        samples: Number of selected samples of each task; int64 [tasks].
        x: Inputs, [tasks, samples, *input_shape]; [1, samples, *input_shape] where they are the same for all tasks.
        y: Labels; int64 [tasks, samples, ...].
        labels: Number of labels of a sample, 0 for padding; float32 [tasks, samples].
        total: Number of labels of each task; float32 [tasks].
    """

    def __init__(
        self, data: MultiTaskDataset, split: str, objective: Objective, measure: str | None, limit: int | None = None
    ) -> None:
        self._padding = Padding(data, split)
        rows, count = rows_of_tasks(data, split, limit)
        real, order = np.arange(rows.shape[1]) < count[:, None], self._padding.by_length(rows)
        rows = self.rows = np.take_along_axis(rows, order, -1)
        self.split, self.objective = split, objective
        self.measure = MEASURES[measure] if measure else None
        device = data.split(split).x.device
        index = torch.from_numpy(rows).to(device)
        x, self.y = data.inputs(split, index), data.split(split).y[index]
        self.x = x[:1].clone() if bool((x == x[:1]).all()) else x
        there = torch.from_numpy(np.take_along_axis(real, order, -1)).to(device)
        tokens = (self.y >= 0).float()
        self.labels = there * (tokens if tokens.ndim == 2 else tokens.sum(-1))
        self.samples, self.total = count, self.labels.sum(-1).cpu().numpy()
        self._counted = Counted(self.labels[None])
        self.task = torch.arange(data.num_tasks, device=device)
        self._classes = TaskClasses(data, objective, device)

    def figures(self, runs: RunStack) -> HeldOutFigures:
        """Measure every run on every task without training."""
        return self._figures(runs, self.task.expand(runs.runs, -1), self._counted)

    def own_figures(self, runs: RunStack) -> HeldOutFigures:
        """Measure run k on task k only; figures are [tasks, 1, samples]."""
        return self._figures(runs, self.task[:, None], Counted(self.labels[:, None]))

    def predictions(self, runs: RunStack) -> Tensor:
        """Return the likeliest labels of every sample of every task; int64 [runs, *y.shape]."""
        task = self.task.expand(runs.runs, -1)
        parts = self._in_parts(runs, task, lambda read: self.objective.predict(read.scores, read.label))
        whole = torch.full((runs.runs, *self.y.shape), NO_LABEL, device=self.y.device)
        start = 0
        for part in parts:
            rows = part.unflatten(0, (*task.shape, -1))
            samples = slice(start, start + rows.shape[2])
            whole[:, :, samples][tuple(map(slice, rows.shape))] = rows
            start = samples.stop
        return whole

    def _figures(self, runs: RunStack, task: Tensor, counted: Counted) -> HeldOutFigures:
        """Return the figures of the given tasks, int64 [runs, groups]: all, or a single one of each run."""
        parts = zip(*self._in_parts(runs, task, self._measured), strict=True)
        both, unsure = (part[0] if len(part) == 1 else torch.cat(part, -1) for part in parts)
        return HeldOutFigures(both, unsure, counted)

    @torch.no_grad()
    def _in_parts(self, runs: RunStack, task: Tensor, look: Callable[[_Read], Result]) -> list[Result]:
        """Run the networks on the samples in parts; return the result of `look` for each part."""
        size = max(1, self._padding.rows_at_once // task.numel())
        places = [slice(at, at + size) for at in range(0, self.x.shape[1], size)]
        with runs.measured():
            return [look(self._read(runs, task, place)) for place in places]

    def _read(self, runs: RunStack, task: Tensor, samples: slice) -> _Read:
        x, y = self._padding.cut(self.rows[: len(self.x), samples], self.x[:, samples], self.y[:, samples])
        if task.shape[1] > 1:
            scores, label = runs.run_shared(x), y.expand(len(task), *y.shape)
        else:
            own, label = (part.expand(len(task), *part.shape[1:])[:, None] for part in (x, y))
            scores = runs.run(own, runs.heads_at(runs.places(task.cpu().numpy())))
        return _Read(self._classes.restrict(scores, task, x.shape[1]), label.flatten(0, 2), task)

    def _measured(self, read: _Read) -> tuple[Tensor, Tensor]:
        """Return loss and number of right labels, float32 [2, runs, groups, rows], and uncertainty, of each row."""
        losses = self.objective.losses(read.scores, read.label)
        hits = right(self.objective.predict(read.scores, read.label), read.label)
        both = torch.stack([losses, hits]).view(2, *read.task.shape, -1)
        return both, self._uncertainty(read) if self.measure else torch.zeros_like(both[0])

    def _uncertainty(self, read: _Read) -> Tensor:
        """Return the uncertainty of each row, for sequences the mean over tokens; float32 [runs, groups, rows]."""
        assert self.measure is not None
        probabilities = self.objective.probabilities(read.scores, read.label)
        rows = probabilities.view(*read.task.shape, -1, *probabilities.shape[1:])
        axes = (1, -1) if read.task.shape[1] > 1 else (-1, 1)
        unsure = self.measure(rows, self._classes.count.view(*axes, *[1] * read.label.ndim))
        if read.label.ndim == 1:
            return unsure
        tokens = (read.label >= 0).float().view_as(unsure)
        return (unsure * tokens).sum(-1) / tokens.sum(-1).clamp(min=1)
