"""Layers with other choices than blocks: the agents of a dispatcher and soft mixtures of all blocks.

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
    """Layer of a dispatcher: the choice is the agent that routes the input from here on; values are unchanged.

    Args:
        shape: Shape of the value, without the batch axis.
        agents: Number of agents.

    Example:
        >>> layer = DispatcherLayer((4,), agents=3)
        >>> layer.choices, layer.can_pass
        (3, False)
    """

    def __init__(self, shape: tuple[int, ...], agents: int) -> None:
        super().__init__([nn.Identity() for _ in range(agents)], shape)

    @property
    def can_pass(self) -> bool:
        """False: an agent must be picked."""
        return False

    def blocks_behind(self, taken: NDArray[np.bool_]) -> list[nn.Module]:
        """Return an empty list: agents are not blocks."""
        return []

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """Return `x` unchanged for every choice."""
        return x


class MixtureLayer(RoutedLayer):
    """Layer whose choices are trained softmax averages over the outputs of all blocks.

    Args:
        layer: Layer of the averaged blocks; its activation is applied before averaging.
        mixtures: Number of averages, each with its own weights.

    Attributes:
        logits: Logits of the weights softmax(logits / temperature); float32 [mixtures, blocks].
        temperature: 1 by default. As a router lowers it to 0, each mixture becomes the block of its largest logit.

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
        """Reset all mixtures to the plain average."""
        nn.init.zeros_(self.logits)
        nn.init.ones_(self.temperature)

    @property
    def shares(self) -> Tensor:
        """Weights of each mixture; float32 [mixtures, blocks]."""
        return (self.logits / self.temperature).softmax(1)

    @property
    def choices(self) -> int:
        """Number of mixtures."""
        return len(self.logits)

    @property
    def can_pass(self) -> bool:
        """False: mixtures are never skipped."""
        return False

    @property
    def trainable_stack(self) -> None:
        """None: averages are taken of the blocks' own parameters."""
        return None

    def blocks_behind(self, taken: NDArray[np.bool_]) -> list[nn.Module]:
        """Return all blocks if any mixture is taken, since each averages all of them."""
        return list(self.blocks) if taken.any() else []

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """Map float32 [rows, *in_shape] and int64 [rows], on the host, to float32 [rows, *out_shape]."""
        shares = self.shares[torch.from_numpy(choices).to(x.device)]
        outputs = self._all_outputs(x)
        return (shares.unsqueeze(1) @ outputs.flatten(2)).view(len(x), *self.out_shape)

    def _all_outputs(self, x: Tensor) -> Tensor:
        """Return the output of every block for every row; float32 [rows, blocks, *out_shape]."""
        linear = [block for block in self.blocks if type(block) is nn.Linear]
        if self._stack is not None and self._stack.plain:
            weight, bias = torch.cat([block.weight for block in linear]), torch.cat([block.bias for block in linear])
            outputs = nn.functional.linear(x, weight, bias).unflatten(1, (len(self.blocks), -1))
        else:
            outputs = torch.stack([block(x) for block in self.blocks], 1)
        return outputs if self.activation is None else self.activation(outputs)


def with_dispatcher(network: RoutedNetwork, agents: int) -> RoutedNetwork:
    """Return a network with a dispatcher layer before the routed layers of `network`.

    Example:
        >>> network = RoutedNetwork(None, [RoutedLayer([nn.Linear(4, 2)])], input_shape=(4,))
        >>> with_dispatcher(network, 3).depth
        2
    """
    features = output_shape(network.trunk, network.input_shape, "the trunk")
    return RoutedNetwork(network.trunk, [DispatcherLayer(features, agents), *network.layers], network.input_shape)


def with_mixtures(network: RoutedNetwork, mixtures: int) -> RoutedNetwork:
    """Return a network with a mixture layer in place of each layer of `network`."""
    layers = [MixtureLayer(layer, mixtures) for layer in network.layers]
    return RoutedNetwork(network.trunk, layers, network.input_shape)
