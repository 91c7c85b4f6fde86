"""The paper's modules: convolutions for the input and between, fully connected ones, and heads.

Source: LRN, section 5.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from mtl_gym.families.limitless.pool import ModulePool, PoolModule


def paper_pool(
    input_shape: Sequence[int], classes: int, duplicates: int = 5, filters: int = 32, hidden: int = 256
) -> ModulePool:
    """The paper's pool: `duplicates` of each of its six modules.

    The copies follow each other as whole sets, so that a pool with more duplicates begins with the smaller one.

    Args:
        input_shape: (channels, height, width) of an image.
        classes: Width of the heads.
        duplicates: Copies of each module.
        filters: Of each convolution: 3x3, stride and padding 1, instance norm, ReLU.
        hidden: Width of the fully connected modules: layer norm, ReLU.

    Raises:
        ValueError: If inputs are not images.

    Example:
        >>> pool = paper_pool((1, 8, 8), classes=2, duplicates=2)
        >>> len(pool), pool.names[:3]
        (12, ['input conv 0', 'conv 0', 'fc from conv 0'])
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"Inputs of shape {tuple(input_shape)} are not images, which the paper's modules take: pass image_shape="
            "(channels, height, width) to fold flat inputs into images, or a pool of your own, network=ModulePool(...)."
        )
    modules = [
        module for copy in range(duplicates) for module in _set_of_modules(input_shape, classes, filters, hidden, copy)
    ]
    return ModulePool(modules, input_shape)


def _set_of_modules(input_shape: Sequence[int], classes: int, filters: int, hidden: int, copy: int) -> list[PoolModule]:
    image, size = tuple(input_shape), tuple(input_shape[1:])
    maps, flat = (filters, *size), (hidden,)
    return [
        PoolModule(_convolution(image[0], filters), image, maps, name=f"input conv {copy}"),
        PoolModule(_convolution(filters, filters), maps, maps, name=f"conv {copy}"),
        PoolModule(_fully_connected(prod(maps), hidden), maps, flat, name=f"fc from conv {copy}"),
        PoolModule(_fully_connected(hidden, hidden), flat, flat, name=f"fc {copy}"),
        PoolModule(_head(prod(maps), classes), maps, (classes,), head=True, name=f"head from conv {copy}"),
        PoolModule(_head(hidden, classes), flat, (classes,), head=True, name=f"head {copy}"),
    ]


def _convolution(channels: int, filters: int) -> nn.Module:
    # Instance norm would take a bias out again.
    convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.InstanceNorm2d(filters), nn.ReLU(inplace=True))


def _fully_connected(features: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True))


def _head(features: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
