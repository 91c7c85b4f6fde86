"""A linear-chain conditional random field: a tag sequence scores the sum of its emission and transition scores.

Pure functions of tensors, which run under `torch.func.vmap` and have first derivatives. A batch consists of groups of
equally many consecutive rows, such as those of one task. A group shares its transition scores.

Shapes: `emissions` float32 [rows, steps, tags]; `transitions` float32 [groups, tags + 1, tags], where [:, i, j] is the
score of tag j after tag i and [:, -1, j] the score of tag j at the start; `mask` bool [rows, steps], True at the tokens
of a row, which come first and number at least one. Emissions of minus infinity exclude tags outside a row's task.

Sums over paths are matrix products of exponentials. They are exact if the scores of transitions lie within 87 of each
other, in float32. Beyond that, a tag counts as unreachable if all paths to it are 87 below the best path to the tags of
this step, and gradients may be infinite.

Source: Lafferty et al. 2001; Ma and Hovy 2016, section 2.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from mtl_gym.core.nn.typing import Context, VmapInfo
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
    places = (previous * number + tags).view(len(transitions), -1)
    steps = transitions.flatten(1).gather(1, places).view(tags.shape)
    chosen = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
    return torch.where(mask, chosen + steps, 0.0).sum(1)


def log_partition(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the logsumexp of the scores of all tag sequences; float32 [rows].

    Example:
        >>> log_partition(torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)).exp()
        tensor([8.])
    """
    total: Tensor = _LogPartition.apply(emissions, transitions, mask)[0]
    return total


def viterbi(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the tag sequences of highest score, -1 where the mask is False; int64 [rows, steps].

    Example:
        >>> emissions = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
        >>> stay = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
        >>> viterbi(emissions, stay, torch.ones(1, 2, dtype=torch.bool))
        tensor([[0, 0]])
    """
    between, into = transitions[:, None, :-1], transitions[:, :-1].transpose(1, 2)
    score, *others = _start(emissions, transitions)
    scores = [score]
    for emission in others:
        score = (score.unsqueeze(3) + between).amax(2) + emission
        scores.append(score)
    tags = [_at_end(scores, mask).argmax(2, keepdim=True)]
    # Only a tag on the best path needs to know its origin.
    for step in range(len(scores) - 1, 0, -1):
        origin = (scores[step - 1] + into.gather(1, tags[-1].expand_as(score))).argmax(2, keepdim=True)
        tags.append(torch.where(mask[:, step].view(origin.shape), origin, tags[-1]))
    return torch.where(mask, torch.cat(tags[::-1], 2).flatten(0, 1), NO_LABEL)


def marginals(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the probability of each tag at each token, 0 where the mask is False; float32 [rows, steps, tags].

    Example:
        >>> emissions = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        >>> marginals(emissions, torch.zeros(1, 3, 2), torch.ones(1, 2, dtype=torch.bool))
        tensor([[[0.5000, 0.5000],
                 [0.7311, 0.2689]]])
    """
    forward = torch.stack(_forward(emissions, transitions), 2)
    logits = forward + _backward(emissions, transitions, mask)
    return torch.where(mask.unsqueeze(2), logits.flatten(0, 1).softmax(2), 0.0)


class _Product(NamedTuple):
    """Exponentials of a matrix, each row divided by its largest; [groups, 1, tags] and [groups, tags, tags]."""

    largest: Tensor
    shares: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> _Product:
        largest = matrix.amax(2, keepdim=True).clamp(min=torch.finfo(matrix.dtype).min)
        return cls(largest.transpose(1, 2), (matrix - largest).exp())

    def __call__(self, scores: Tensor) -> Tensor:
        """Return log(exp(scores) @ exp(matrix)); [groups, rows, tags] -> [groups, rows, tags]."""
        parts, top = self.left(scores)
        return (parts @ self.shares).log() + top

    def left(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the left factor of the product, divided by its largest value, and the logarithm of this value."""
        raised = scores + self.largest
        top = raised.amax(2, keepdim=True)
        return (raised - top).exp(), top


class _LogPartition(Function):
    """`log_partition`, whose gradients are the probabilities of tags and of pairs of tags."""

    generate_vmap_rule = True

    @staticmethod
    def forward(emissions: Tensor, transitions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        scores = _forward(emissions, transitions)
        return _at_end(scores, mask).logsumexp(2).flatten(), torch.stack(scores, 2)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Context, upstream: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        emissions, transitions, mask, total, forward = ctx.saved_tensors
        paths = forward + _backward(emissions, transitions, mask) - total.view(*forward.shape[:2], 1, 1)
        tags = torch.where(mask.unsqueeze(2), paths.exp().flatten(0, 1), 0.0)
        each = tags * upstream[:, None, None]
        starts = each[:, 0].view(len(transitions), -1, each.shape[2]).sum(1, keepdim=True)
        after = tags[:, 1:].reshape(len(transitions), -1, each.shape[2])
        # Gradients computed for several losses at once are batches in `upstream`, of which few operations are known.
        weight = upstream[:, None] * torch.ones_like(tags[:, 1:, 0])
        pairs = _pairs(forward[:, :, :-1].flatten(1, 2), after, weight.view(len(transitions), -1, 1), transitions)
        return *_FirstDerivatives.apply(each, torch.cat([pairs, starts], 1)), None


class _FirstDerivatives(Function):
    """Identity for derivatives that must not be differentiated again: they come from saved scores."""

    @staticmethod
    def forward(*gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in gradients)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Context, *upstream: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("The random field has first derivatives only.")

    @staticmethod
    def vmap(
        info: VmapInfo, in_dims: tuple[int | None, ...], *gradients: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        return _FirstDerivatives.apply(*gradients), in_dims


def _pairs(before: Tensor, after: Tensor, weight: Tensor, transitions: Tensor) -> Tensor:
    """Return the weighted sums of the probabilities of pairs of successive tags; [groups, tags, tags].

    Args:
        before: Scores of the paths to each tag; [groups, tokens, tags].
        after: Probability of each tag of the next token; [groups, tokens, tags].
        weight: Weight of each token; [groups, tokens, 1].
        transitions: As above.
    """
    product = _Product.of(transitions[:, :-1])
    parts, _ = product.left(before)
    reached = torch.bmm(parts, product.shares).clamp(min=torch.finfo(parts.dtype).tiny)
    return product.shares * torch.bmm(parts.transpose(1, 2), after / reached * weight)


def _start(emissions: Tensor, transitions: Tensor) -> list[Tensor]:
    """Return the emissions of each step, at the first with the scores of the start; [groups, rows, tags] each."""
    first, *others = emissions.unflatten(0, (len(transitions), -1)).unbind(2)
    return [first + transitions[:, -1:], *others]


def _forward(emissions: Tensor, transitions: Tensor) -> list[Tensor]:
    """Return, per step, the logsumexp over all paths to each tag; undefined after a row's end.

    [groups, rows, tags] each.
    """
    product = _Product.of(transitions[:, :-1])
    score, *others = _start(emissions, transitions)
    scores = [score]
    for emission in others:
        score = product(score) + emission
        scores.append(score)
    return scores


def _backward(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    """Return the logsumexp over all paths from each tag to the row's end; [groups, rows, steps, tags]."""
    product = _Product.of(transitions[:, :-1].transpose(1, 2))
    first, *others = emissions.unflatten(0, (len(transitions), -1)).unbind(2)
    real = mask.view(*first.shape[:2], -1, 1).unbind(2)
    scores = [torch.zeros_like(first)]
    for emission, there in zip(reversed(others), real[:0:-1], strict=True):
        scores.append(torch.where(there, product(emission + scores[-1]), 0.0))
    return torch.stack(scores[::-1], 2)


def _at_end(scores: list[Tensor], mask: Tensor) -> Tensor:
    """Return the scores at the last token of each row; [groups, rows, tags] each -> [groups, rows, tags]."""
    last = (mask.sum(1) - 1).view(*scores[0].shape[:2], 1, 1).expand(-1, -1, 1, scores[0].shape[2])
    return torch.stack(scores, 2).gather(2, last).squeeze(2)
