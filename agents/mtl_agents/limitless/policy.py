"""Transformer router: a policy over valid modules, for pools of any size.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning"), equations 1 to 5 and figure 1.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import MaskableCategoricalDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

Observation: TypeAlias = dict[str, Tensor]
Masks: TypeAlias = Tensor | NDArray[np.bool_] | None

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
        self.encoder = nn.TransformerEncoderLayer(d_model, heads, feed_forward, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(d_model, heads, feed_forward, dropout=0.0, batch_first=True)
        self.score = nn.Linear(d_model, d_model)
        self.attention = nn.Linear(d_model, 1)
        self.value = nn.Linear(d_model, 1)

    def encode(self, obs: Observation) -> tuple[Tensor, Tensor]:
        """Encode the state (image, task and chosen modules) by self-attention. Source: eq. 2.

        Returns:
            State, float32 [rows, 2 + max_depth, d_model], and mask of absent modules, bool [rows, 2 + max_depth].
        """
        modules = obs["chosen"].long()
        width = self.module.embedding_dim
        places = sinusoids(torch.arange(modules.shape[1], device=modules.device), width)
        chosen = self.module((modules - 1).clamp(min=0)) + places
        task = self.task(obs["task"].long().flatten()) + sinusoids(obs["depth"].long().flatten(), width)
        state = torch.cat([self.image(obs["image"])[:, None], task[:, None], chosen], 1)
        absent = nn.functional.pad(modules == 0, (2, 0))
        return self.encoder(state, src_key_padding_mask=absent), absent

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
        most = int(masks.sum(1).max())
        candidates = (~masks).byte().argsort(dim=1, stable=True)[:, :most]
        missing = ~masks.gather(1, candidates)
        embeddings = torch.cat([self.module.weight, self.passing[None]])[candidates]
        decoded = self.decoder(embeddings, state, tgt_key_padding_mask=missing, memory_key_padding_mask=absent)
        asked = self.score(state[:, 1]) / math.sqrt(state.shape[-1])
        scores = (decoded * asked[:, None]).sum(-1).masked_fill(missing, NO_CANDIDATE)
        return torch.full(masks.shape, NO_CANDIDATE, device=state.device).scatter(1, candidates, scores)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Encode positions; int64 [n] -> float32 [n, width]. Source: Vaswani et al. 2017, section 3.5."""
    frequencies = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    angles = positions[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]


class Nothing(BaseFeaturesExtractor):
    """Placeholder for SB3's features extractor; the router reads observations directly."""

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space, features_dim=1)


class RouterPolicy(MaskableActorCriticPolicy):
    """Policy of MaskablePPO with the interface of SB3, implemented by a `Router`.

    Args:
        observation_space: Observation space of a limitless environment.
        action_space: Modules and PASS.
        lr_schedule: Schedule of the learning rate.
        d_model: Width of all embeddings.
        heads: Number of attention heads.
        feed_forward: Width of the feed-forward layers.
        generator: Generator of sampled actions.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        d_model: int,
        heads: int,
        feed_forward: int,
        generator: torch.Generator,
    ) -> None:
        self._sizes = (d_model, heads, feed_forward)
        self.generator = generator
        super().__init__(observation_space, action_space, lr_schedule, features_extractor_class=Nothing)

    def _build(self, lr_schedule: Schedule) -> None:
        space: Any = self.observation_space
        actions: Any = self.action_space
        shape, tasks = space["image"].shape, int(space["task"].n)
        self.router = Router(shape, tasks, int(actions.n) - 1, *self._sizes)
        self.optimizer = torch.optim.Adam(self.parameters(), lr_schedule(1), eps=1e-5, fused=True)

    def _distribution(self, state: Tensor, absent: Tensor, masks: Masks) -> MaskableCategoricalDistribution:
        actions: Any = self.action_space
        if masks is None:
            valid = torch.ones(len(state), int(actions.n), dtype=torch.bool, device=state.device)
        else:
            valid = torch.as_tensor(masks, dtype=torch.bool, device=state.device).reshape(len(state), -1)
        distribution = MaskableCategoricalDistribution(int(actions.n))
        distribution.proba_distribution(self.router.logits(state, absent, valid))
        distribution.apply_masking(valid)
        return distribution

    def _draw(self, distribution: MaskableCategoricalDistribution, deterministic: bool) -> Tensor:
        """Return the most probable choice, or sample one with the policy's generator; int64 [rows]."""
        logits = distribution.distribution.logits
        if deterministic:
            return logits.argmax(1)
        return (logits - torch.empty_like(logits).exponential_(generator=self.generator).log()).argmax(1)

    def forward(
        self, obs: Any, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions [rows], values [rows, 1] and log-probabilities [rows]."""
        state, absent = self.router.encode(obs)
        distribution = self._distribution(state, absent, action_masks)
        actions = self._draw(distribution, deterministic)
        return actions, self.router.values(state, absent), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: Any, actions: Tensor, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values [rows, 1], log-probabilities [rows] of `actions`, and entropies [rows]."""
        state, absent = self.router.encode(obs)
        distribution = self._distribution(state, absent, action_masks)
        return self.router.values(state, absent), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: Any, action_masks: Masks = None) -> MaskableCategoricalDistribution:
        """Return the distribution over choices."""
        return self._distribution(*self.router.encode(obs), action_masks)

    def predict_values(self, obs: Any) -> Tensor:
        """Return values; float32 [rows, 1]."""
        return self.router.values(*self.router.encode(obs))

    def _predict(self, observation: Any, deterministic: bool = False, action_masks: Masks = None) -> Tensor:
        return self._draw(self.get_distribution(observation, action_masks), deterministic)
