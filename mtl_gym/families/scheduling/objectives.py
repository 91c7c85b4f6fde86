"""What a network's scores mean: the loss of an answer, how much of it is right, and how sure the network is."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from mtl_gym.families.scheduling import crf

Scores: TypeAlias = Any  # a tensor or a tuple of tensors, as the objective has it


class Objective(Protocol):
    """Turns what the heads give for a batch of samples into losses and probabilities.

    `scores` is what a head gives, a tensor or a tuple of tensors that begin with the axis of rows, `label` is int64
    [rows] or [rows, tokens] with -1 where there is no token.
    """

    def losses(self, scores: Scores, label: Tensor) -> Tensor:
        """The loss of each row; float32 [rows]."""
        ...

    def predict(self, scores: Scores, label: Tensor) -> Tensor:
        """The likeliest labels, in the shape of `label`, of which only -1 is looked at; int64."""
        ...

    def probabilities(self, scores: Scores, label: Tensor) -> Tensor:
        """The probability of each class; float32 [rows, classes] or [rows, tokens, classes]."""
        ...

    def restrict(self, scores: Scores, allowed: Tensor) -> Scores:
        """Take away classes that the row's task does not have; `allowed` is bool [rows, classes]."""
        ...


class Classification:
    """One label per sample, from a softmax over logits [rows, classes].

    Source: QLS, eq. 2.

    Example:
        >>> Classification().losses(torch.zeros(1, 2), torch.tensor([1]))
        tensor([0.6931])
    """

    def losses(self, scores: Tensor, label: Tensor) -> Tensor:
        """Cross-entropies; float32 [rows]."""
        return functional.cross_entropy(scores, label, reduction="none")

    def predict(self, scores: Tensor, label: Tensor) -> Tensor:
        """The likeliest class; int64 [rows]."""
        return scores.argmax(-1)

    def probabilities(self, scores: Tensor, label: Tensor) -> Tensor:
        """The softmax; float32 [rows, classes]."""
        return scores.softmax(-1)

    def restrict(self, scores: Tensor, allowed: Tensor) -> Tensor:
        """Take away classes that the row's task does not have."""
        return scores.masked_fill(~allowed, -torch.inf)


class Focal(Classification):
    """Cross-entropies in which samples that are classified well count less: -(1 - p)^gamma log p.

    Args:
        gamma: How much less, 0 or more; 0 gives the cross-entropy.

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
        """Focal losses; float32 [rows]."""
        plain = super().losses(scores, label)
        # Where p rounds to 1, a power below 1 of a plain 0 has an infinite slope.
        missing = (1 - (-plain).exp()).clamp(min=torch.finfo(plain.dtype).tiny)
        return missing**self.gamma * plain


class Tagging:
    """A label for each token, from a conditional random field over (emissions, transitions), as `CRFHead` gives them.

    Losses are per token, so that tasks with long sentences do not count more.

    Source: QLS, section 5.2; Ma and Hovy 2016, section 2.3.
    """

    def losses(self, scores: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        """Minus the log-likelihood of a row's labels over their number; float32 [rows]."""
        mask = label >= 0
        return -crf.log_likelihood(*scores, label, mask) / mask.sum(1).clamp(min=1)

    def predict(self, scores: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        """The likeliest label sequence, -1 behind its end; int64 [rows, tokens]."""
        return crf.viterbi(*scores, label >= 0)

    def probabilities(self, scores: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
        """The probability of each label at each token; float32 [rows, tokens, classes]."""
        return crf.marginals(*scores, label >= 0)

    def restrict(self, scores: tuple[Tensor, Tensor], allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Take away classes that the row's task does not have."""
        return scores[0].masked_fill(~allowed[:, None], -torch.inf), scores[1]


def right(predicted: Tensor, label: Tensor) -> Tensor:
    """How many of a row's labels are predicted; int64 [rows] or [rows, tokens] -> float32 [rows].

    Example:
        >>> right(torch.tensor([[1, 0, -1], [1, 1, 1]]), torch.tensor([[1, 1, -1], [1, 1, 1]]))
        tensor([1., 3.])
    """
    hits = ((predicted == label) & (label >= 0)).float()
    return hits if hits.ndim == 1 else hits.sum(1)
