"""The transformer router: a policy over whatever modules are valid, however many the pool has.

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
from torch import Tensor, nn

Observation: TypeAlias = dict[str, Tensor]
Masks: TypeAlias = Tensor | NDArray[np.bool_] | None

NO_CANDIDATE = -1e8


class ImageEncoder(nn.Sequential):
    """A couple of convolutions and a fully connected layer; two fully connected ones for inputs that are no images.

    Takes float32 [rows, *shape] and gives [rows, width].

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
    """State and candidates as sequences of embeddings; nothing in it but the module embeddings grows with the pool.

    Args:
        shape: Of an image.
        tasks: Number of tasks.
        modules: Size of the pool.
        d_model: Width of all embeddings.
        heads: Attention heads.
        feed_forward: Width of the transformer's feed-forward layers.

    Source: LRN, section 4 and 5.1.

    Deviation: no dropout, so that the probabilities of a rollout are those it is trained with. The position of a
    module, and the depth, which PASS moves without leaving a module behind, are told by sinusoids.
    """

    def __init__(
        self, shape: tuple[int, ...], tasks: int, modules: int, d_model: int, heads: int, feed_forward: int
    ) -> None:
        super().__init__()
        self.image = ImageEncoder(shape, d_model)
        self.task = nn.Embedding(tasks, d_model)
        self.module = nn.Embedding(modules, d_model)
        self.passing = nn.Parameter(torch.randn(d_model))
        options: dict[str, Any] = {"dropout": 0.0, "batch_first": True}
        self.encoder = nn.TransformerEncoderLayer(d_model, heads, feed_forward, **options)
        self.decoder = nn.TransformerDecoderLayer(d_model, heads, feed_forward, **options)
        self.score = nn.Linear(d_model, 1)
        self.attention = nn.Linear(d_model, 1)
        self.value = nn.Linear(d_model, 1)

    def encode(self, obs: Observation) -> tuple[Tensor, Tensor]:
        """Self-attention over the state: image, task, and the modules chosen so far. Source: eq. 2.

        Returns:
            float32 [rows, 2 + max_depth, d_model], and where there is no module yet; bool [rows, 2 + max_depth].
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
        """Value of each state, from attention without a context; float32 [rows, 1]. Source: eqs. 3 to 5."""
        scores = self.attention(state).squeeze(-1).masked_fill(absent, -torch.inf)
        weights = scores.softmax(1)
        return self.value((weights[:, :, None] * state).sum(1))

    def logits(self, state: Tensor, absent: Tensor, masks: Tensor) -> Tensor:
        """Logits of all choices; those that are masked are never looked at. Source: eq. 1.

        Args:
            state: float32 [rows, 2 + max_depth, d_model].
            absent: bool [rows, 2 + max_depth].
            masks: Valid choices, PASS last; bool [rows, modules + 1].

        Returns:
            float32 [rows, modules + 1].
        """
        most = int(masks.sum(1).max())
        candidates = (~masks).byte().argsort(dim=1, stable=True)[:, :most]
        missing = ~masks.gather(1, candidates)
        embeddings = torch.cat([self.module.weight, self.passing[None]])[candidates]
        decoded = self.decoder(embeddings, state, tgt_key_padding_mask=missing, memory_key_padding_mask=absent)
        scores = self.score(decoded).squeeze(-1).masked_fill(missing, NO_CANDIDATE)
        return torch.full(masks.shape, NO_CANDIDATE, device=state.device).scatter(1, candidates, scores)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Encodings of positions; int64 [n] -> float32 [n, width]. Source: Vaswani et al. 2017, section 3.5."""
    frequencies = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    angles = positions[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]


class Nothing(BaseFeaturesExtractor):
    """Stands where SB3 wants a features extractor; the router reads the observation itself."""

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space, features_dim=1)


class RouterPolicy(MaskableActorCriticPolicy):
    """The router behind the face that MaskablePPO wants of a policy.

    Args:
        observation_space: Of a limitless environment.
        action_space: Its modules and PASS.
        lr_schedule: Learning rate.
        d_model: Width of all embeddings.
        heads: Attention heads.
        feed_forward: Width of the feed-forward layers.
        generator: What actions are drawn with.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Any,
        *,
        d_model: int,
        heads: int,
        feed_forward: int,
        generator: torch.Generator,
    ) -> None:
        self._sizes = (d_model, heads, feed_forward)
        self.generator = generator
        super().__init__(observation_space, action_space, lr_schedule, features_extractor_class=Nothing)

    def _build(self, lr_schedule: Any) -> None:
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
        """The likeliest choice, or one drawn with the policy's own generator."""
        logits = distribution.distribution.logits
        if deterministic:
            return logits.argmax(1)
        return (logits - torch.empty_like(logits).exponential_(generator=self.generator).log()).argmax(1)

    def forward(
        self, obs: Any, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions [rows], values [rows, 1] and log-probabilities [rows]."""
        state, absent = self.router.encode(obs)
        distribution = self._distribution(state, absent, action_masks)
        actions = self._draw(distribution, deterministic)
        return actions, self.router.values(state, absent), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: Any, actions: Tensor, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values [rows, 1], log-probabilities [rows] of `actions`, and entropies [rows]."""
        state, absent = self.router.encode(obs)
        distribution = self._distribution(state, absent, action_masks)
        return self.router.values(state, absent), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: Any, action_masks: Masks = None) -> MaskableCategoricalDistribution:
        """The distribution over choices."""
        return self._distribution(*self.router.encode(obs), action_masks)

    def predict_values(self, obs: Any) -> Tensor:
        """Values; float32 [rows, 1]."""
        return self.router.values(*self.router.encode(obs))

    def _predict(self, observation: Any, deterministic: bool = False, action_masks: Masks = None) -> Tensor:
        return self._draw(self.get_distribution(observation, action_masks), deterministic)
