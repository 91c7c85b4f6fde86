"""Two views of each input: normalised values for the modules, and pictures in [0, 1] for the router."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.data import MultiTaskDataset


class Inputs:
    """Samples of one split in the input shape of the pool.

    Pictures are pixels (uint8) divided by 255, or other values scaled by the minimum and maximum of the training split
    and clipped to [0, 1].

    Args:
        data: Data set, on the device.
        split: Name of the split.
        image_shape: As in `LimitlessOptions`.

    Attributes:
        shape: Shape of one input.

    Raises:
        ValueError: If inputs cannot be reshaped to `image_shape`.

    Example:
        >>> from mtl_gym.data import load
        >>> inputs = Inputs(load("digits"), "train", (1, 8, 8))
        >>> inputs.pictures(np.array([0, 1])).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, data: MultiTaskDataset, split: str, image_shape: Sequence[int] | None) -> None:
        self.data, self.split = data, split
        self.shape = data.input_shape if image_shape is None else tuple(image_shape)
        self._folds = len(data.input_shape) == 1
        _check_shape(data, self.shape)
        train = data.splits["train"].x
        pixels = train.dtype == torch.uint8
        self._low = 0.0 if pixels else float(train.min())
        self._scale = 1 / (255.0 if pixels else max(float(train.max()) - self._low, 1e-9))

    def pictures(self, samples: NDArray[np.int64]) -> Tensor:
        """Return the pictures of `samples`, int64 [n], for the router; float32 [n, *shape] in [0, 1]."""
        x = self.data.split(self.split).x[self._index(samples)].float()
        return self._shaped(((x - self._low) * self._scale).clamp_(0, 1))

    def values(self, samples: NDArray[np.int64]) -> Tensor:
        """Return the normalised inputs of `samples`, int64 [n], for the modules; float32 [n, *shape]."""
        return self._shaped(self.data.inputs(self.split, self._index(samples)))

    @property
    def device(self) -> torch.device:
        """Device of the data."""
        return self.data.split(self.split).x.device

    def _index(self, samples: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(samples).clamp(min=0).to(self.device, non_blocking=True)

    def _shaped(self, x: Tensor) -> Tensor:
        if x.shape[1:] == self.shape:
            return x
        if self._folds:
            return x.unflatten(1, self.shape)
        _, height, width = self.shape
        return torch.nn.functional.adaptive_avg_pool2d(x, (height, width))


class RowInputs:
    """Current sample and picture of each row.

    Args:
        inputs: Inputs of the split.
        rows: Number of rows.

    Attributes:
        sample: Sample of each row, -1 for none; int64 [rows].
        images: Picture of each sample for the router; float32 [rows, *shape].
    """

    def __init__(self, inputs: Inputs, rows: int) -> None:
        self._inputs = inputs
        self.sample = np.full(rows, -1)
        self.images = torch.zeros(rows, *inputs.shape, device=inputs.device)

    def begin(self, rows: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
        """Assign `samples` to `rows`; int64 [n] each."""
        self.sample[rows] = samples
        self.images[torch.from_numpy(rows).to(self.images.device, non_blocking=True)] = self._inputs.pictures(samples)

    def load(self, sample: NDArray[np.int64]) -> None:
        """Assign one sample to every row; int64 [rows]."""
        self.sample, self.images = sample, self._inputs.pictures(sample)


def _check_shape(data: MultiTaskDataset, shape: tuple[int, ...]) -> None:
    given = data.input_shape
    folds = len(given) == 1 and prod(shape) == given[0]
    shrinks = len(given) == len(shape) == 3 and given[0] == shape[0] and all(np.less_equal(shape, given))
    if min(shape, default=0) < 1 or not (folds or shrinks or given == shape):
        raise ValueError(
            f"image_shape={shape} does not fit inputs of shape {given}: use a shape with as many values for flat "
            "inputs; for images, the same number of channels and no larger height or width."
        )
