"""Soft mixtures annealed to hard routes: all tasks train all blocks at first, and one block per depth in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Unpack

from mtl_agents.base import AgentArguments, Parts
from mtl_agents.environments import behind
from mtl_agents.files import Tables
from mtl_agents.routing.controls import FixedRouting, own_blocks
from mtl_agents.routing.router import Index
from mtl_gym.core.ranges import NOT_NEGATIVE, PART, Range
from mtl_gym.core.rows import Array
from mtl_gym.families.routing.layers import MixtureLayer
from mtl_gym.families.routing.network import RoutedNetwork
from mtl_gym.integrations.sb3 import EnvLike


class HardeningMixture(FixedRouting):
    """Soft mixture with a falling temperature, until each task takes one block per depth.

    Routers with hard choices from the start evaluate untrained blocks. Here, routes begin as an average over all
    blocks, follow the gradient of the loss, and end as hard routes.

    The temperature falls geometrically during the share `warm_up` of the training, then stays constant. Initial noise
    on the logits breaks the symmetry between blocks.

    Source: our own; the annealing is that of the concrete distribution (Maddison et al. 2017, Jang et al. 2017).

    Args:
        env: As for `Agent`, made with `mixture=True`.
        warm_up: Share of the training with a falling temperature, in (0, 1].
        final_temperature: Final temperature, in (0, 1].
        noise: Standard deviation of the initial noise on the logits.
        **arguments: Keyword arguments of `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = HardeningMixture("MTLRouting-Digits-v0", warm_up=0.5, seed=0).learn(60)
        >>> [round(float(layer.temperature), 3) for layer in agent.layers]
        [0.001, 0.001, 0.001]
    """

    ROLE: ClassVar[str] = "learner"
    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"mixture": True}

    RANGES: ClassVar[Mapping[str, Range]] = {"warm_up": PART, "final_temperature": PART, "noise": NOT_NEGATIVE}

    def __init__(
        self,
        env: EnvLike,
        *,
        warm_up: float = 0.5,
        final_temperature: float = 0.001,
        noise: float = 0.01,
        **arguments: Unpack[AgentArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self.warm_up, self.final_temperature, self.noise = warm_up, final_temperature, noise
        self.begun = np.array(False)

    def _draw(self, sizes: Index) -> Index:
        return own_blocks(self.num_tasks, sizes)

    def _tables(self) -> Tables:
        return super()._tables() | {"begun": self.begun}

    def _hyperparameters(self) -> dict[str, object]:
        return {"warm_up": self.warm_up, "final_temperature": self.final_temperature, "noise": self.noise}

    @property
    def layers(self) -> list[MixtureLayer]:
        """Mixture layers of the environment's network, in order of depth."""
        base = behind(self.env)
        network = None if base is None else base.network
        if not isinstance(network, RoutedNetwork):
            raise ValueError(
                f"HardeningMixture needs an environment with a RoutedNetwork; {self.env} has none. Use MTLRouting."
            )
        return [layer for layer in network.layers if isinstance(layer, MixtureLayer)]

    @property
    def diagnostics(self) -> dict[str, float]:
        """Largest weight and entropy in nats of the mixtures, averaged over tasks and depths."""
        shares = torch.stack([layer.shares.detach() for layer in self.layers])
        return {
            "policy_max": float(shares.amax(-1).mean()),
            "policy_entropy": float(torch.special.entr(shares).sum(-1).mean()),
        }

    def _act(self, obs: Parts) -> Index:
        if not self.begun:
            self._begin_mixtures()
        return super()._act(obs)

    def _begin_mixtures(self) -> None:
        for layer in self.layers:
            noise = self.np_random.normal(0, self.noise, tuple(layer.logits.shape))
            layer.logits.data += torch.from_numpy(noise).to(layer.logits)
        self.begun = np.array(True)

    def _record(self, obs: Parts, actions: Array, rewards: Array, dones: NDArray[np.bool_]) -> None:
        """Lower the temperature between updates only; pending losses depend on the previous temperature."""
        if dones.all():
            progress = self.num_timesteps / (self.warm_up * self.total_timesteps)
            for layer in self.layers:
                layer.temperature.data.fill_(self.final_temperature ** min(1.0, progress))
