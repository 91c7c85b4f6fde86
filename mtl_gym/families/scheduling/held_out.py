"""Loss, accuracy and uncertainty of all runs on held-out data, and the observation computed from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.nn.eval_mode import eval_mode
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import NO_LABEL
from mtl_gym.families.scheduling.minibatches import rows_of_tasks
from mtl_gym.families.scheduling.objectives import Objective, Scores, TaskClasses, right
from mtl_gym.families.scheduling.padding import Padding
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.uncertainty import MEASURES, hardest, histograms

Result = TypeVar("Result")


@dataclass(frozen=True)
class HeldOutFigures:
    """Figures of every run for every held-out sample, padded to the task with the most samples.

    Attributes:
        loss: float32 [runs, tasks, samples].
        right: Number of correctly predicted labels; float32 [runs, tasks, samples].
        uncertainty: float32 [runs, tasks, samples], in [0, 1].
        labels: Number of labels of a sample, 0 for padding; float32 [tasks, samples].
    """

    loss: Tensor
    right: Tensor
    uncertainty: Tensor
    labels: Tensor

    @property
    def samples(self) -> Tensor:
        """Number of samples of each task; int64 [tasks]."""
        return (self.labels > 0).sum(-1)

    def task_loss(self) -> Tensor:
        """Return the mean loss over each task's samples; float32 [runs, tasks]."""
        return (self.loss * (self.labels > 0)).sum(-1) / self.samples

    def task_accuracy(self) -> Tensor:
        """Return the share of each task's labels that are predicted correctly; float32 [runs, tasks]."""
        return (self.right * (self.labels > 0)).sum(-1) / self.labels.sum(-1)

    def histograms(self, hard_samples: int, bins: int) -> Tensor:
        """Return each task's histogram of uncertainty over its samples of highest loss; float32 [runs, tasks, bins].

        Without bins, nothing is computed.

        Source: QLS, section 4.3, "State".

        Deviation: the paper adopts "batch hard samples" from triplet learning without defining "hard"; we take the
        samples of highest loss.
        """
        if not bins:
            return self.loss.new_zeros(*self.loss.shape[:2], 0)
        there = (self.labels > 0).expand_as(self.loss)
        where = hardest(self.loss.masked_fill(~there, -torch.inf), hard_samples)
        return histograms(self.uncertainty.gather(-1, where), there.gather(-1, where), bins)


class _Read(NamedTuple):
    """Scores, labels and tasks of some samples of all runs, flattened to rows."""

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
        self.x, self.y = data.inputs(split, index), data.split(split).y[index]
        there = torch.from_numpy(np.take_along_axis(real, order, -1)).to(device)
        tokens = (self.y >= 0).float()
        self.labels = there * (tokens if tokens.ndim == 2 else tokens.sum(-1))
        self.samples = count
        self.task = torch.arange(data.num_tasks, device=device)
        self._classes = TaskClasses(data, objective, device)

    def figures(self, runs: RunStack) -> HeldOutFigures:
        """Measure every run on every task without training."""
        return self._figures(runs, self.task.expand(runs.runs, -1), shared=True)

    def own_figures(self, runs: RunStack) -> HeldOutFigures:
        """Measure run k on task k only; figures are [tasks, 1, samples]."""
        return self._figures(runs, self.task[:, None], shared=False)

    def predictions(self, runs: RunStack) -> Tensor:
        """Return the likeliest labels of every sample of every task; int64 [runs, *y.shape]."""
        task = self.task.expand(runs.runs, -1)
        parts = self._in_parts(runs, task, True, lambda read: self.objective.predict(read.scores, read.label))
        whole = torch.full((runs.runs, *self.y.shape), NO_LABEL, device=self.y.device)
        start = 0
        for part in parts:
            rows = part.unflatten(0, (*task.shape, -1))
            samples = slice(start, start + rows.shape[2])
            whole[:, :, samples][tuple(map(slice, rows.shape))] = rows
            start = samples.stop
        return whole

    def _figures(self, runs: RunStack, task: Tensor, shared: bool) -> HeldOutFigures:
        """Return the figures of the given tasks, int64 [runs, groups]; `shared` if all runs have the same tasks."""
        parts = zip(*self._in_parts(runs, task, shared, self._measured), strict=True)
        loss, hits, unsure = (torch.cat([v.unflatten(0, (*task.shape, -1)) for v in part], -1) for part in parts)
        return HeldOutFigures(loss, hits, unsure, self.labels if shared else self.labels[:, None])

    @torch.no_grad()
    def _in_parts(self, runs: RunStack, task: Tensor, shared: bool, look: Callable[[_Read], Result]) -> list[Result]:
        """Run the networks on the samples in parts; return the result of `look` for each part."""
        size = max(1, self._padding.rows_at_once // task.numel())
        places = [slice(at, at + size) for at in range(0, self.x.shape[1], size)]
        with eval_mode(runs):
            return [look(self._read(runs, task, place, shared)) for place in places]

    def _read(self, runs: RunStack, task: Tensor, samples: slice, shared: bool) -> _Read:
        x, y = self._padding.cut(self.rows[:, samples], self.x[:, samples], self.y[:, samples])
        scores = runs.run_shared(x) if shared else runs.run(x[:, None], runs.heads_at(runs.places(task.cpu().numpy())))
        own = task[..., None].expand(*task.shape, x.shape[1]).flatten()
        return _Read(self._classes.restrict(scores, task, x.shape[1]), y[task].flatten(0, 2), own)

    def _measured(self, read: _Read) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the number of right labels and the uncertainty of each row; float32 [rows] each."""
        losses = self.objective.losses(read.scores, read.label)
        hits = right(self.objective.predict(read.scores, read.label), read.label)
        return losses, hits, self._uncertainty(*read) if self.measure else torch.zeros_like(losses)

    def _uncertainty(self, scores: Scores, label: Tensor, task: Tensor) -> Tensor:
        """Return the uncertainty of each row, for sequences the mean over tokens; float32 [rows]."""
        assert self.measure is not None
        classes = self._classes.count[task]
        probabilities = self.objective.probabilities(scores, label)
        if label.ndim == 1:
            return self.measure(probabilities, classes)
        tokens = (label >= 0).float()
        return (self.measure(probabilities, classes[:, None]) * tokens).sum(-1) / tokens.sum(-1).clamp(min=1)
