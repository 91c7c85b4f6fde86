"""A linear-chain conditional random field: a tag sequence scores the sum of its emission and transition scores.

Pure functions of tensors without in-place writes; they run under `torch.func.vmap` and are differentiable. Every row
has its own transition scores, because the rows of a batch may belong to different tasks.

Shapes: `emissions` float32 [rows, steps, tags]; `transitions` float32 [rows, tags + 1, tags], where [:, i, j] is the
score of tag j after tag i and [:, -1, j] the score of tag j at the start; `mask` bool [rows, steps], True at the tokens
of a row, which come first and number at least one. Emissions of minus infinity exclude tags outside a row's task.

Source: Lafferty et al. 2001; Ma and Hovy 2016, section 2.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl_gym.data.split import NO_LABEL


def log_likelihood(emissions: Tensor, transitions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """Return the log-probability of whole tag sequences; float32 [rows].

    Args:
        emissions: As above.
        transitions: As above.
        tags: int64 [rows, steps]; ignored where the mask is False.
        mask: As above.

    Example:
        >>> even = torch.zeros(1, 2, 2), torch.zeros(1, 3, 2)
        >>> log_likelihood(*even, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)).exp()
        tensor([0.2500])
    """
    return path_score(emissions, transitions, tags, mask) - log_partition(emissions, transitions, mask)


def path_score(emissions: Tensor, transitions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """Sum the scores along tag sequences; arguments as in `log_likelihood`, float32 [rows]."""
    number = emissions.shape[-1]
    tags = tags.clamp(min=0)
    previous = torch.cat([torch.full_like(tags[:, :1], number), tags[:, :-1]], 1)
    steps = transitions.flatten(1).gather(1, previous * number + tags)
    chosen = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
    return torch.where(mask, chosen + steps, 0.0).sum(1)


def log_partition(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the logsumexp of the scores of all tag sequences; float32 [rows].

    Example:
        >>> log_partition(torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)).exp()
        tensor([8.])
    """
    return _forward(emissions, transitions, mask)[-1].logsumexp(1)


def viterbi(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the tag sequences of highest score, -1 where the mask is False; int64 [rows, steps].

    Example:
        >>> emissions = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
        >>> stay = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
        >>> viterbi(emissions, stay, torch.ones(1, 2, dtype=torch.bool))
        tensor([[0, 0]])
    """
    between = transitions[:, :-1]
    score = emissions[:, 0] + transitions[:, -1]
    stay = torch.arange(emissions.shape[-1], device=emissions.device)
    origins = []
    for step in range(1, emissions.shape[1]):
        best, origin = (score.unsqueeze(2) + between).max(1)
        real = mask[:, step, None]
        origins.append(torch.where(real, origin, stay))
        score = torch.where(real, best + emissions[:, step], score)
    tags = [score.argmax(1, keepdim=True)]
    for origin in reversed(origins):
        tags.append(origin.gather(1, tags[-1]))
    return torch.where(mask, torch.cat(tags[::-1], 1), NO_LABEL)


def marginals(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the probability of each tag at each token, 0 where the mask is False; float32 [rows, steps, tags].

    Example:
        >>> emissions = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        >>> marginals(emissions, torch.zeros(1, 3, 2), torch.ones(1, 2, dtype=torch.bool))
        tensor([[[0.5000, 0.5000],
                 [0.7311, 0.2689]]])
    """
    forward = torch.stack(_forward(emissions, transitions, mask), 1)
    backward = torch.stack(_backward(emissions, transitions, mask), 1)
    logits = forward + backward
    return torch.where(mask.unsqueeze(2), logits.softmax(2), 0.0)


def _forward(emissions: Tensor, transitions: Tensor, mask: Tensor) -> list[Tensor]:
    """Return, per step, the logsumexp over all paths to each tag; constant after a row's end; [rows, tags] each."""
    between = transitions[:, :-1]
    scores = [emissions[:, 0] + transitions[:, -1]]
    for step in range(1, emissions.shape[1]):
        longer = _log_product(scores[-1].unsqueeze(1), between).squeeze(1) + emissions[:, step]
        scores.append(torch.where(mask[:, step, None], longer, scores[-1]))
    return scores


def _backward(emissions: Tensor, transitions: Tensor, mask: Tensor) -> list[Tensor]:
    """Return, per step, the logsumexp over all paths from each tag to the row's end; [rows, tags] each."""
    between = transitions[:, :-1]
    scores = [torch.zeros_like(emissions[:, 0])]
    for step in range(emissions.shape[1] - 1, 0, -1):
        longer = _log_product(between, (emissions[:, step] + scores[-1]).unsqueeze(2)).squeeze(2)
        scores.append(torch.where(mask[:, step, None], longer, scores[-1]))
    return scores[::-1]


def _log_product(left: Tensor, right: Tensor) -> Tensor:
    """Return log(exp(left) @ exp(right)) for [rows, n, tags] and [rows, tags, m]."""
    return (left.unsqueeze(3) + right.unsqueeze(1)).logsumexp(2)
