"""Transformer router: scores of valid modules and values of states, for pools of any size.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning"), equations 1 to 5 and figure 1.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from mtl_agents.limitless.candidates import Candidates, Padding
from mtl_gym.core.nn.products import linear

Observation: TypeAlias = dict[str, Tensor]

NO_CANDIDATE = -1e8


class ImageEncoder(nn.Sequential):
    """Encoder of two convolutions and a linear layer for images, or of two linear layers for other inputs.

    Maps float32 [rows, *shape] to float32 [rows, width].

    Example:
        >>> ImageEncoder((1, 8, 8), 32)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 32])
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        if len(shape) == 3:
            body: list[nn.Module] = [nn.Conv2d(shape[0], 16, 3, stride=2, padding=1), nn.ReLU()]
            body += [nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()]
            features = 32 * math.ceil(shape[1] / 4) * math.ceil(shape[2] / 4)
        else:
            body, features = [nn.Flatten(), nn.Linear(math.prod(shape), width), nn.ReLU()], width
        super().__init__(*body, nn.Linear(features, width))


class Router(nn.Module):
    """Transformer over embeddings of state and candidates; only the module embeddings grow with the pool.

    What is absent or no candidate is not computed. The first half of the decoder sees candidates alone, so that it runs
    once for rows with the same ones.

    Args:
        shape: Shape of an image.
        tasks: Number of tasks.
        modules: Size of the pool.
        d_model: Width of all embeddings.
        heads: Number of attention heads.
        feed_forward: Width of the transformer's feed-forward layers.

    Source: LRN, sections 4 and 5.1.

    Deviation: no dropout, so that rollout and training use the same probabilities. Sinusoids encode the position of a
    module, and the depth, which PASS increases without adding a module. A logit is the scaled product of the decoded
    candidate and a linear map of the encoded task, where the paper names no readout: of a linear map of the candidate
    alone, hardly a tenth differs between tasks at first, so that all tasks would share their modules.
    """

    def __init__(
        self, shape: tuple[int, ...], tasks: int, modules: int, d_model: int, heads: int, feed_forward: int
    ) -> None:
        super().__init__()
        self.image = ImageEncoder(shape, d_model)
        self.task = nn.Embedding(tasks, d_model)
        self.module = nn.Embedding(modules, d_model)
        self.passing = nn.Parameter(torch.randn(d_model))
        # torch's layers hold the weights; `_encoded` and `_decoded` compute what they would.
        self.encoder = nn.TransformerEncoderLayer(d_model, heads, feed_forward, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(d_model, heads, feed_forward, dropout=0.0, batch_first=True)
        self.score = nn.Linear(d_model, d_model)
        self.attention = nn.Linear(d_model, 1)
        self.value = nn.Linear(d_model, 1)

    def encode(self, obs: Observation) -> tuple[Tensor, Tensor]:
        """Encode the state (image, task and chosen modules) by self-attention. Source: eq. 2.

        Returns:
            State, float32 [rows, 2 + max_depth, d_model], 0 for absent modules, and their mask, bool
            [rows, 2 + max_depth].
        """
        modules = obs["chosen"].long()
        width = self.module.embedding_dim
        places = sinusoids(torch.arange(modules.shape[1], device=modules.device), width)
        chosen = self.module((modules - 1).clamp(min=0)) + places
        task = self.task(obs["task"].long().flatten()) + sinusoids(obs["depth"].long().flatten(), width)
        state = torch.cat([self.image(obs["image"])[:, None], task[:, None], chosen], 1)
        absent = pad(modules == 0, (2, 0))
        return self._encoded(state, Padding(~absent)), absent

    def _encoded(self, state: Tensor, parts: Padding) -> Tensor:
        """Return what `encoder` does of the present parts; float32 [rows, 2 + max_depth, d_model]."""
        layer, attention = self.encoder, self.encoder.self_attn
        x = parts.pack(state)
        seen = _attend(parts.pad(_projected(attention, x)), parts.present, attention.num_heads)
        x = layer.norm1(x + _mapped(attention.out_proj, parts.pack(seen)))
        return parts.pad(layer.norm2(x + _feed_forward(layer, x)))

    def values(self, state: Tensor, absent: Tensor) -> Tensor:
        """Return the value of each state by attention pooling; float32 [rows, 1]. Source: eqs. 3 to 5."""
        scores = self.attention(state).squeeze(-1).masked_fill(absent, -torch.inf)
        weights = scores.softmax(1)
        return self.value((weights[:, :, None] * state).sum(1))

    def logits(self, state: Tensor, absent: Tensor, masks: Tensor) -> Tensor:
        """Return logits of all choices; masked choices are not decoded. Source: eq. 1.

        Args:
            state: float32 [rows, 2 + max_depth, d_model].
            absent: Mask of absent modules; bool [rows, 2 + max_depth].
            masks: Valid choices, PASS last; bool [rows, modules + 1].

        Returns:
            float32 [rows, modules + 1].
        """
        candidates = Candidates.of(masks)
        decoded = self._decoded(candidates, state, Padding(~absent))
        asked = self.score(state[:, 1]) / math.sqrt(state.shape[-1])
        rows = candidates.pairs.places // candidates.pairs.present.shape[1]
        scores = (decoded[: len(rows)] * asked.index_select(0, rows)).sum(-1)
        nowhere = torch.full((masks.numel(),), NO_CANDIDATE, device=state.device)
        return nowhere.index_copy_(0, candidates.places, scores).view(masks.shape)

    def _decoded(self, candidates: Candidates, state: Tensor, parts: Padding) -> Tensor:
        """Return what `decoder` does of the candidates of each row; float32 [pairs or more, d_model]."""
        alone = self._among_themselves(candidates).index_select(0, candidates.own)
        x = self.decoder.norm2(candidates.pairs.pack(self._looking(alone, state, parts)))
        return self.decoder.norm3(x + _feed_forward(self.decoder, x))

    def _among_themselves(self, candidates: Candidates) -> Tensor:
        """Let the candidates of each set attend to each other; float32 [sets, most, d_model]."""
        layer, attention, there = self.decoder, self.decoder.self_attn, candidates.of_sets
        choices = torch.cat([self.module.weight, self.passing[None]])
        projected = _projected(attention, choices).index_select(0, candidates.sets.flatten())
        projected = projected.unflatten(0, candidates.sets.shape)
        seen = _attend(projected, there.present, attention.num_heads)
        chosen = choices.index_select(0, there.pack(candidates.sets))
        return there.pad(layer.norm1(chosen + _mapped(attention.out_proj, there.pack(seen))))

    def _looking(self, x: Tensor, state: Tensor, parts: Padding) -> Tensor:
        """Add what candidates see in the state to them; float32 [rows, most, d_model].

        Linear maps of queries and of what is seen are applied to the parts of a state, which are fewer than candidates.
        """
        attention, width = self.decoder.multihead_attn, state.shape[-1]
        heads, scale = attention.num_heads, math.sqrt(attention.num_heads / width)
        projected = _projected(attention, parts.pack(state), slice(1, 3)).unflatten(-1, (2, heads, -1))
        keys, values = (part.transpose(0, 1) for part in projected.unbind(1))  # [heads, n, width of a head]
        weight, bias = (part[:width].view(heads, width // heads, -1) * scale for part in _projections(attention))
        out = attention.out_proj.weight.view(width, heads, -1).permute(1, 2, 0)
        asked, told = keys @ weight, torch.baddbmm(attention.out_proj.bias / heads, values, out)
        absent = ~parts.present.repeat_interleave(heads, 1)[..., None]
        shift = _by_row(keys @ bias, parts).masked_fill(absent, -torch.inf)
        scores = torch.baddbmm(shift, _by_row(asked, parts), x.mT)
        weights = scores.unflatten(1, (-1, heads)).softmax(1).flatten(1, 2)
        return torch.baddbmm(x, weights.mT, _by_row(told, parts))


def _by_row(x: Tensor, parts: Padding) -> Tensor:
    """Return values of heads by row; [heads, n, *shape] -> [rows, most * heads, *shape]."""
    return parts.pad(x.transpose(0, 1)).flatten(1, 2)


def _projections(attention: nn.MultiheadAttention) -> tuple[Tensor, Tensor]:
    """Return weights and biases of queries, keys and values; [3 * d_model, d_model] and [3 * d_model]."""
    assert attention.in_proj_weight is not None and attention.in_proj_bias is not None
    return attention.in_proj_weight, attention.in_proj_bias


def _projected(attention: nn.MultiheadAttention, x: Tensor, parts: slice = slice(3)) -> Tensor:
    """Return queries, keys and values of inputs, or some `parts` of them; [*n, d_model] -> [*n, parts * d_model]."""
    rows = slice((parts.start or 0) * x.shape[-1], parts.stop * x.shape[-1])
    weight, bias = _projections(attention)
    return linear(x, weight[rows], bias[rows])


def _attend(projected: Tensor, present: Tensor, heads: int) -> Tensor:
    """Attend to what is present, before the output projection.

    Args:
        projected: Queries, keys and values; float32 [rows, most, 3 * d_model].
        present: bool [rows, most].
        heads: Number of heads.

    Returns:
        float32 [rows, most, d_model].
    """
    queries, keys, values = projected.unflatten(-1, (3, heads, -1)).transpose(1, 3).unbind(2)
    seen = scaled_dot_product_attention(queries, keys, values, attn_mask=present[:, None, None])
    return seen.transpose(1, 2).flatten(2)


def _mapped(layer: nn.Linear, x: Tensor, relu: bool = False) -> Tensor:
    return linear(x, layer.weight, layer.bias, relu)


def _feed_forward(layer: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer, x: Tensor) -> Tensor:
    return _mapped(layer.linear2, _mapped(layer.linear1, x, relu=True))


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Encode positions; int64 [n] -> float32 [n, width]. Source: Vaswani et al. 2017, section 3.5."""
    frequencies = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    angles = positions[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]
