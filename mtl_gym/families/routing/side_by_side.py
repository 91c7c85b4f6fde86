"""Routed networks of several runs, side by side: one network that has the blocks of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.typing import Modules
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork


class NetworkOfRuns(RoutedNetwork):
    """Networks of one structure side by side. Rows come run by run, equally many of each.

    Args:
        networks: The network of each run.

    Example:
        >>> def network() -> RoutedNetwork:
        ...     return RoutedNetwork(None, [RoutedLayer([nn.Linear(4, 2) for _ in range(3)])], input_shape=(4,))
        >>> several = NetworkOfRuns([network(), network()])
        >>> several.num_blocks, several(torch.zeros(10, 4), np.zeros((10, 1), int)).shape
        (3, torch.Size([10, 2]))
    """

    def __init__(self, networks: Sequence[RoutedNetwork]) -> None:
        nn.Module.__init__(self)
        first = networks[0]
        self.networks: Modules[RoutedNetwork] = Modules(networks)
        self.trunk = first.trunk if type(first.trunk) is nn.Identity else _TrunkOfRuns(networks)
        self.layers = Modules([layer_of_runs(layers) for layers in zip(*(one.layers for one in networks), strict=True)])
        self.input_shape, self.width, self.num_blocks = first.input_shape, first.width, first.num_blocks
        self.classes = first.classes


class _TrunkOfRuns(nn.Module):
    def __init__(self, networks: Sequence[RoutedNetwork]) -> None:
        super().__init__()
        self.trunks = Modules([network.trunk for network in networks])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([trunk(part) for trunk, part in zip(self.trunks, x.chunk(len(self.trunks)), strict=True)])


def layer_of_runs(layers: Sequence[RoutedLayer]) -> RoutedLayer:
    """Return one layer in place of the layers of several runs at one depth."""
    plain = type(layers[0]) is RoutedLayer and not any(True for _ in layers[0].activation_parameters())
    return _BlocksOfRuns(layers) if plain else _LayersOfRuns(layers)


class _LayersOfRuns(RoutedLayer):
    """Layers of any kind: each sees the rows of its run."""

    def __init__(self, layers: Sequence[RoutedLayer]) -> None:
        nn.Module.__init__(self)
        self.of_runs: Modules[RoutedLayer] = Modules(layers)
        self.in_shape, self.out_shape = layers[0].in_shape, layers[0].out_shape

        self.blocks = Modules([block for layer in layers for block in layer.blocks])

    @property
    def trainable_stack(self) -> None:
        return None

    @property
    def choices(self) -> int:
        return self.of_runs[0].choices

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        runs = len(self.of_runs)
        parts = zip(self.of_runs, x.chunk(runs), np.split(choices, runs), strict=True)
        return torch.cat([layer(part, chosen) for layer, part, chosen in parts])


class _BlocksOfRuns(RoutedLayer):
    """Plain layers: a row of run r takes block r * blocks + choice."""

    def __init__(self, layers: Sequence[RoutedLayer]) -> None:
        blocks = [block for layer in layers for block in layer.blocks]
        super().__init__(blocks, layers[0].in_shape, layers[0].activation)
        self._runs, self._each = len(layers), layers[0].choices

    @property
    def choices(self) -> int:
        return self._each

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        first = np.repeat(np.arange(self._runs) * self._each, len(choices) // self._runs)
        passes = choices == self._each
        return self._route(x, np.where(passes, len(self.blocks), choices + first))
