"""Layers whose choices are not blocks: agents that a dispatcher picks from, and soft mixtures of all blocks.

Source: Rosenbaum et al. 2018, figure 3(c) and section 4 ("dispatched", "soft mixture").
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.shapes import output_shape
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork


class DispatcherLayer(RoutedLayer):
    """The dispatcher's decision: which agent routes the input from here on. The value stays as it is.

    Args:
        shape: Of the value, without the batch axis.
        agents: How many agents there are to pick from.

    Example:
        >>> layer = DispatcherLayer((4,), agents=3)
        >>> layer.choices, layer.can_pass
        (3, False)
    """

    def __init__(self, shape: tuple[int, ...], agents: int) -> None:
        super().__init__([nn.Identity() for _ in range(agents)], shape)

    @property
    def can_pass(self) -> bool:
        """An agent must be picked."""
        return False

    def blocks_behind(self, taken: NDArray[np.bool_]) -> list[nn.Module]:
        """An agent is no block."""
        return []

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """`x`, whoever is picked."""
        return x


class MixtureLayer(RoutedLayer):
    """Choices are trained softmax averages over what all blocks of a layer give.

    Args:
        layer: The layer whose blocks are averaged, after its activation.
        mixtures: How many averages there are to choose from, each with weights of its own.

    Attributes:
        logits: The weights are softmax(logits / temperature); float32 [mixtures, blocks].
        temperature: 1 unless a router lowers it: towards 0, each mixture becomes the block of its largest logit.

    Example:
        >>> layer = MixtureLayer(RoutedLayer([nn.Linear(4, 2) for _ in range(5)]), mixtures=3)
        >>> layer(torch.ones(6, 4), np.array([0, 1, 2, 0, 1, 2])).shape, layer.logits.shape
        (torch.Size([6, 2]), torch.Size([3, 5]))
    """

    def __init__(self, layer: RoutedLayer, mixtures: int) -> None:
        super().__init__(list(layer.blocks), layer.in_shape, layer.activation)
        self.logits = nn.Parameter(torch.zeros(mixtures, len(self.blocks)))
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    def reset_parameters(self) -> None:
        """Begin as the plain average."""
        nn.init.zeros_(self.logits)
        nn.init.ones_(self.temperature)

    @property
    def shares(self) -> Tensor:
        """The weights of each mixture; float32 [mixtures, blocks]."""
        return (self.logits / self.temperature).softmax(1)

    @property
    def choices(self) -> int:
        """How many mixtures there are."""
        return len(self.logits)

    @property
    def can_pass(self) -> bool:
        """A mixture is never skipped."""
        return False

    def blocks_behind(self, taken: NDArray[np.bool_]) -> list[nn.Module]:
        """All blocks take part in every mixture."""
        return list(self.blocks) if taken.any() else []

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """float32 [rows, *in_shape] and int64 [rows], on the host -> float32 [rows, *out_shape]."""
        shares = self.shares[torch.from_numpy(choices).to(x.device)]
        outputs = self._all_outputs(x)
        return (shares.unsqueeze(1) @ outputs.flatten(2)).view(len(x), *self.out_shape)

    def _all_outputs(self, x: Tensor) -> Tensor:
        """What every block gives for every row; float32 [rows, blocks, *out_shape]."""
        if self._linear:
            linear = [block for block in self.blocks if isinstance(block, nn.Linear)]
            weight, bias = torch.cat([block.weight for block in linear]), torch.cat([block.bias for block in linear])
            outputs = nn.functional.linear(x, weight, bias).unflatten(1, (len(self.blocks), -1))
        else:
            outputs = torch.stack([block(x) for block in self.blocks], 1)
        return outputs if self.activation is None else self.activation(outputs)


def with_dispatcher(network: RoutedNetwork, agents: int) -> RoutedNetwork:
    """The same network with a dispatcher's decision before the first routed layer.

    Example:
        >>> network = RoutedNetwork(None, [RoutedLayer([nn.Linear(4, 2)])], input_shape=(4,))
        >>> with_dispatcher(network, 3).depth
        2
    """
    features = output_shape(network.trunk, network.input_shape, "the trunk")
    return RoutedNetwork(network.trunk, [DispatcherLayer(features, agents), *network.layers], network.input_shape)


def with_mixtures(network: RoutedNetwork, mixtures: int) -> RoutedNetwork:
    """The same network with trained softmax averages for choices."""
    layers = [MixtureLayer(layer, mixtures) for layer in network.layers]
    return RoutedNetwork(network.trunk, layers, network.input_shape)
