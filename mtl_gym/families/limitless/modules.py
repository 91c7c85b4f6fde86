"""Modules of the paper: convolutions, fully connected layers and heads.

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
    """Build the paper's pool, with `duplicates` copies of each of its six modules.

    Modules are ordered copy by copy, so that a pool with more duplicates begins with the modules of a smaller pool.

    Args:
        input_shape: (channels, height, width) of an image.
        classes: Width of the heads.
        duplicates: Number of copies of each module.
        filters: Number of filters of each convolution (3x3, stride and padding 1, instance norm, ReLU).
        hidden: Width of the fully connected modules (layer norm, ReLU).

    Raises:
        ValueError: If `input_shape` does not have three axes.

    Example:
        >>> pool = paper_pool((1, 8, 8), classes=2, duplicates=2)
        >>> len(pool), pool.names[:3]
        (12, ['input conv 0', 'conv 0', 'fc from conv 0'])
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"Inputs of shape {tuple(input_shape)} are not images, as the paper's modules require: pass image_shape="
            "(channels, height, width) to reshape flat inputs, or network=ModulePool(...)."
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
    # Instance norm cancels a bias.
    convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.InstanceNorm2d(filters), nn.ReLU(inplace=True))


def _fully_connected(features: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True))


def _head(features: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
