"""Ready-made trunks and blocks: SimpleConvNet and the routed fully connected layers of the paper."""

from __future__ import annotations

import itertools
from math import prod

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.shapes import output_shape
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork


class SimpleConvNet(nn.Sequential):
    """Four stages of 3x3 convolution with 32 filters, batch norm, ReLU and 2x2 max-pooling; flattened output.

    Inputs are float32 [rows, channels, height, width] with at least 16 x 16 pixels.

    Source: Ravi and Larochelle 2017, as used by Rosenbaum et al. 2018, section 4.

    Example:
        >>> SimpleConvNet(3)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(self, channels: int, filters: int = 32, stages: int = 4) -> None:
        modules: list[nn.Module] = []
        for stage in range(stages):
            modules += [
                nn.Conv2d(filters if stage else channels, filters, 3, padding=1),
                nn.BatchNorm2d(filters),
                # ReLU after pooling gives the same values and gradients as before it, at a quarter of the cost.
                nn.MaxPool2d(2),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*modules, nn.Flatten())
        # The channels-last layout is faster for small 3x3 convolutions, on CPU and GPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [rows, channels, height, width] to float32 [rows, features]."""
        return super().forward(x.contiguous(memory_format=torch.channels_last))


def simple_routed_network(
    input_shape: tuple[int, ...], blocks: int, classes: int, depth: int = 3, hidden: int = 128, layering: bool = True
) -> RoutedNetwork:
    """Build the paper's network: SimpleConvNet for images, no trunk for flat inputs, then `depth` linear layers.

    Args:
        input_shape: (channels, height, width) of an image, or (features,).
        blocks: Number of blocks in each routed layer.
        classes: Width of the last layer, which returns the logits.
        depth: Number of routed layers.
        hidden: Width of all layers except the last.
        layering: If True, each depth uses the blocks of its own layer only; if False, all hidden blocks of equal shape.

    Raises:
        ValueError: If `input_shape` has neither one nor three axes.

    Example:
        >>> simple_routed_network((3, 32, 32), blocks=20, classes=5).width
        128
    """
    trunk = SimpleConvNet(input_shape[0]) if len(input_shape) == 3 else None
    if len(input_shape) not in (1, 3):
        raise ValueError(f"Inputs of shape {input_shape} are neither flat nor images: pass network=RoutedNetwork(...).")
    features = prod(input_shape if trunk is None else output_shape(trunk, input_shape, "the trunk"))
    widths = [features, *[hidden] * (depth - 1), classes]
    pool: list[list[nn.Linear]] = [
        [nn.Linear(inputs, outputs) for _ in range(blocks)] for inputs, outputs in itertools.pairwise(widths)
    ]
    chosen = pool if layering else [_conformant(pool, own) for own in pool]
    activations = [nn.ReLU()] * (depth - 1) + [None]
    layers = [RoutedLayer(own, activation=activation) for own, activation in zip(chosen, activations, strict=True)]
    return RoutedNetwork(trunk, layers, input_shape)


def _conformant(pool: list[list[nn.Linear]], own: list[nn.Linear]) -> list[nn.Linear]:
    """Return the hidden blocks with the weight shape of `own`; the last layer keeps its own blocks."""
    if own is pool[-1]:
        return own
    return [block for layer in pool[:-1] for block in layer if block.weight.shape == own[0].weight.shape]
