"""Flat features of observations, as SB3's `MultiInputPolicy` has them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor

from mtl_agents.base import Parts
from mtl_gym.core.rows import AnySpace, Array


class Features:
    """Features of observations: numbers flattened, discrete values one-hot, parts of a Dict in its order.

    Args:
        space: Observation space of one row: Box, MultiBinary, Discrete, MultiDiscrete, or a Dict of these.

    Attributes:
        width: Number of features.

    Raises:
        ValueError: If the space has other parts, or 8-bit images.

    Example:
        >>> features = Features(spaces.Dict(value=spaces.Box(0, 9, (2,)), task=spaces.Discrete(3)))
        >>> features({"value": np.array([[5.0, 7.0]]), "task": np.array([1])}).tolist()
        [[5.0, 7.0, 0.0, 1.0, 0.0]]
    """

    def __init__(self, space: AnySpace) -> None:
        self.parts = list(space.items()) if isinstance(space, spaces.Dict) else [("", space)]
        for name, part in self.parts:
            _check(name, part)
        self._widths = [spaces.utils.flatdim(part) for _, part in self.parts]
        self.width = sum(self._widths)

    def __call__(self, observation: Array | Parts, device: str = "cpu") -> Tensor:
        """Return the features of a batch, float32 [rows, width]."""
        given = observation if isinstance(observation, dict) else {"": observation}
        arrays = [np.asarray(given[name]) for name, _ in self.parts]
        features = torch.zeros(len(arrays[0]), self.width, device=device)
        for columns, array, (_, part) in zip(self._columns(), arrays, self.parts, strict=True):
            if isinstance(part, (spaces.Discrete, spaces.MultiDiscrete)):
                ones = torch.as_tensor((array - part.start).reshape(len(array), -1) + starts(part), device=device)
                features[:, columns].scatter_(1, ones.long(), 1.0)
            else:
                features[:, columns] = torch.as_tensor(array.reshape(len(array), -1), device=device)
        return features

    def _columns(self) -> Iterator[slice]:
        """Yield the columns of every part."""
        ends = np.cumsum(self._widths).tolist()
        yield from map(slice, [0, *ends], ends)


def starts(space: spaces.Discrete | spaces.MultiDiscrete) -> Array:
    """Return the first column of each number's one-hot vector.

    Example:
        >>> starts(spaces.MultiDiscrete([2, 3, 4])).tolist()
        [0, 2, 5]
    """
    sizes = np.array([space.n]) if isinstance(space, spaces.Discrete) else space.nvec.ravel()
    return np.cumsum(sizes) - sizes


def _check(name: str, space: AnySpace) -> None:
    """Refuse a part that has no flat features.

    Raises:
        ValueError: If it is an image or of another kind.
    """
    where = f"its part {name!r}" if name else "the observation"
    if is_image_space(space, check_channels=False):
        raise ValueError(
            f"FastPPO has no convolutional network for 8-bit images, and {where} is {space}: use the agent 'ppo', or "
            "observe features of the images."
        )
    if not isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.Discrete, spaces.MultiDiscrete)):
        raise ValueError(
            f"FastPPO needs a Box, MultiBinary, Discrete or MultiDiscrete observation, or a Dict of these; {where} is "
            f"{space}."
        )
