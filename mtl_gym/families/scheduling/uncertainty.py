"""Measures of a network's uncertainty, and histograms of them, the observation of a scheduler.

Source: QLS ("Q-Learning Scheduler for Multi-Task Learning through the use of Histogram of Task Uncertainty"),
section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Uncertainty: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def margin(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Return 1 - (p1 - p2), for the two highest probabilities; float32 [..., classes] -> [...].

    Source: QLS, eq. 4.

    Example:
        >>> margin(torch.tensor([0.7, 0.2, 0.1]), torch.tensor(3))
        tensor(0.5000)
    """
    if probabilities.shape[-1] == 1:
        return torch.zeros_like(probabilities[..., 0])
    if probabilities.shape[-1] == 2:
        first, second = probabilities.unbind(-1)
        return 1 - torch.maximum(first, second) + torch.minimum(first, second)
    first, second = probabilities.topk(2, -1).values.unbind(-1)
    return 1 - first + second


def least_confidence(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Return 1 - p1, for the highest probability; float32 [..., classes] -> [...]."""
    return 1 - probabilities.amax(-1)


def entropy(probabilities: Tensor, classes: Tensor) -> Tensor:
    """Return the Shannon entropy divided by its maximum, log(classes); float32 [..., classes] -> [...].

    Args:
        probabilities: float32 [..., classes].
        classes: Number of classes of the sample's task; int64 [...].
    """
    bits = torch.special.entr(probabilities).sum(-1)
    return bits / classes.clamp(min=2).log()


MEASURES: dict[str, Uncertainty] = {"margin": margin, "least_confidence": least_confidence, "entropy": entropy}


def histograms(values: Tensor, counted: Tensor | None, bins: int) -> Tensor:
    """Return the share of values in each of `bins` equal parts of [0, 1]; a value of 1 falls into the last bin.

    Args:
        values: float32 [..., samples], in [0, 1].
        counted: Mask of the values that count, bool [..., samples]; None for all.
        bins: Number of bins.

    Returns:
        float32 [..., bins], summing to 1.

    Example:
        >>> histograms(torch.tensor([0.0, 0.1, 0.6, 1.0]), None, 2)
        tensor([0.5000, 0.5000])
    """
    place = (values * bins).long().clamp_(0, bins - 1)
    counts = torch.zeros(*values.shape[:-1], bins, device=values.device)
    if counted is None:
        return counts.scatter_add_(-1, place, torch.ones_like(values)).div_(values.shape[-1])
    counts.scatter_add_(-1, place, counted.to(counts.dtype))
    return counts / counted.sum(-1, keepdim=True)


def hardest(losses: Tensor, count: int) -> Tensor:
    """Return the indices of the highest losses, ties by index; [..., samples] -> int64 [..., min(count, samples)]."""
    return losses.sort(dim=-1, descending=True, stable=True).indices[..., :count]
