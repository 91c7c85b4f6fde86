"""Objectives: losses, predictions and probabilities computed from a network's scores."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from mtl_gym.core.classification import Classes
from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import NO_LABEL
from mtl_gym.families.scheduling import crf

Scores: TypeAlias = Any  # a tensor or a tuple of tensors, depending on the objective


class Objective(Protocol):
    """Losses, predictions and probabilities of a batch of samples.

    `scores` is the output of a head, a tensor or a tuple of tensors with a leading axis of rows; `label` is int64
    [rows], or [rows, tokens] with -1 after the last token.
    """

    def losses(self, scores: Scores, label: Tensor) -> Tensor:
        """Return the loss of each row; float32 [rows]."""
        ...

    def predict(self, scores: Scores, label: Tensor) -> Tensor:
        """Return the likeliest labels, int64 in the shape of `label`; only the -1 of `label` may be used."""
        ...

    def probabilities(self, scores: Scores, label: Tensor) -> Tensor:
        """Return the probability of each class; float32 [rows, classes] or [rows, tokens, classes]."""
        ...

    def restrict(self, scores: Scores, allowed: Tensor) -> Scores:
        """Exclude classes outside the row's task; `allowed` is bool [rows, classes]."""
        ...


class Classification:
    """Softmax classification with one label per sample; scores are logits [rows, classes].

    Source: QLS, eq. 2.

    Example:
        >>> Classification().losses(torch.zeros(1, 2), torch.tensor([1]))
        tensor([0.6931])
    """

    def losses(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return cross-entropies; float32 [rows]."""
        return functional.cross_entropy(scores, label, reduction="none")

    def predict(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return the likeliest classes; int64 [rows]."""
        return scores.argmax(-1)

    def probabilities(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return the softmax; float32 [rows, classes]."""
        return scores.softmax(-1)

    def restrict(self, scores: Tensor, allowed: Tensor) -> Tensor:
        """Set the logits of classes outside the row's task to minus infinity."""
        return scores.masked_fill(~allowed, -torch.inf)


class Focal(Classification):
    """Classification with the focal loss -(1 - p)^gamma log p, which down-weights well-classified samples.

    Args:
        gamma: Focusing parameter, at least 0; 0 gives the cross-entropy.

    Source: Lin et al. 2017, eq. 4.

    Example:
        >>> scores = torch.tensor([[17.0, 0.0]], requires_grad=True)
        >>> Focal(0.5).losses(scores, torch.tensor([0])).sum().backward()
        >>> scores.grad.isfinite().all()
        tensor(True)
    """

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def losses(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return focal losses; float32 [rows]."""
        plain = super().losses(scores, label)
        # Where p rounds to 1, 1 - p would be 0, at which a power below 1 has an infinite gradient.
        missing = (1 - (-plain).exp()).clamp(min=torch.finfo(plain.dtype).tiny)
        return missing**self.gamma * plain


class SequenceClassification(Classification):
    """Softmax classification of every step; scores are logits [rows, steps, classes].

    Losses are means over steps, so that tasks with long sequences do not weigh more.

    Example:
        >>> SequenceClassification().losses(torch.zeros(1, 3, 2), torch.tensor([[1, 0, -1]]))
        tensor([0.6931])
    """

    def losses(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return the mean cross-entropy of the labels of each row; float32 [rows]."""
        there = label >= 0
        each = functional.cross_entropy(scores.transpose(1, 2), label.clamp(min=0), reduction="none")
        return (each * there).sum(1) / there.sum(1).clamp(min=1)

    def predict(self, scores: Tensor, label: Tensor) -> Tensor:
        """Return the likeliest classes, -1 after the end; int64 [rows, steps]."""
        return scores.argmax(-1).masked_fill(label < 0, NO_LABEL)

    def restrict(self, scores: Tensor, allowed: Tensor) -> Tensor:
        """Set the logits of classes outside the row's task to minus infinity."""
        return scores.masked_fill(~allowed[:, None], -torch.inf)


class Tagging:
    """Sequence labelling by a conditional random field; scores are (emissions, transitions) of a `CRFHead`.

    Transitions have a leading axis of groups, see `mtl_gym.families.scheduling.crf`.

    Losses are means over tokens, so that tasks with long sentences do not weigh more.

    Source: QLS, section 5.2; Ma and Hovy 2016, section 2.3.
    """

    def losses(self, scores: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        """Return the negative log-likelihood of each row divided by its number of labels; float32 [rows]."""
        mask = label >= 0
        return -crf.log_likelihood(*scores, label, mask) / mask.sum(1).clamp(min=1)

    def predict(self, scores: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        """Return the likeliest label sequences, -1 after their end; int64 [rows, tokens]."""
        return crf.viterbi(*scores, label >= 0)

    def probabilities(self, scores: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        """Return the probability of each label at each token; float32 [rows, tokens, classes]."""
        return crf.marginals(*scores, label >= 0)

    def restrict(self, scores: tuple[Tensor, Tensor], allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Set the emissions of classes outside the row's task to minus infinity."""
        return scores[0].masked_fill(~allowed[:, None], -torch.inf), scores[1]


class TaskClasses:
    """Classes of each task, of which its scores are a choice.

    Args:
        data: Data set.
        objective: Objective of the scores.
        device: Device of the scores.

    Attributes:
        count: Number of classes of each task; int64 [tasks].
    """

    def __init__(self, data: MultiTaskDataset, objective: Objective, device: torch.device) -> None:
        self._allowed, self._objective = Classes(data, device).allowed, objective
        self.count = self._allowed.sum(-1)
        self._same_everywhere = len(set(data.num_classes)) == 1

    def restrict(self, scores: Scores, task: Tensor | Rows, rows: int) -> Scores:
        """Exclude classes outside the task of a row; scores [runs * groups * rows, ...], task int64 [runs, groups]."""
        if self._same_everywhere:
            return scores
        allowed = self._allowed[task].flatten(0, 1)
        return self._objective.restrict(scores, allowed.repeat_interleave(rows, 0))


def right(predicted: Tensor, label: Tensor) -> Tensor:
    """Count the correctly predicted labels of each row; int64 [rows] or [rows, tokens] -> float32 [rows].

    Example:
        >>> right(torch.tensor([[1, 0, -1], [1, 1, 1]]), torch.tensor([[1, 1, -1], [1, 1, 1]]))
        tensor([1., 3.])
    """
    if label.ndim == 1:
        return (predicted == label).float()
    return ((predicted == label) & (label >= 0)).float().sum(1)
