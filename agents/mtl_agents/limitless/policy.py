"""Policy of SB3 over valid modules, computed by the transformer router.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning"), equations 1 to 5 and figure 1.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import MaskableCategoricalDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from mtl_agents.limitless.router import Router

Masks: TypeAlias = Tensor | NDArray[np.bool_] | None


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
