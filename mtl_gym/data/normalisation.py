"""Mean and standard deviation of training inputs."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mtl_gym.data.split import Split


def statistics(x: Tensor, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over the rows and over all but the first axis of an input.

    Args:
        x: Training inputs, ``[rows, *input_shape]``, uint8 or floating.
        per_channel: Whether each entry of the first input axis (a feature, or a channel of an image) has its own
            values; otherwise there is one value for all entries.

    Returns:
        ``(mean, std)``, float32, broadcastable to the input shape: ``[channels, 1, ...]`` or ``[1, ...]``. The std of
        constant inputs is 1, so that they become 0 instead of a division by 0.
    """
    rows = x if per_channel else x.reshape(len(x), 1, -1)
    mean, std = _histogram_moments(rows) if x.dtype == torch.uint8 else _moments(rows)
    shape = (rows.shape[1], *(1 for _ in x.shape[2:]))
    return mean.float().reshape(shape), torch.where(std == 0, 1.0, std).float().reshape(shape)


def standardised(splits: Mapping[str, Split], tasks: int) -> dict[str, Split]:
    """Normalise feature vectors by the mean and standard deviation of the training rows of their own task.

    Meant for unrelated tables, where the same column holds different features in different units.
    """
    train = splits["train"]
    moments = [statistics(train.x[train.task == task]) for task in range(tasks)]
    mean, std = (torch.stack(parts) for parts in zip(*moments, strict=True))
    return {name: replace(part, x=(part.x - mean[part.task]) / std[part.task]) for name, part in splits.items()}


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    values = rows.transpose(0, 1).reshape(rows.shape[1], -1).double()
    std, mean = torch.std_mean(values, dim=1, correction=0)
    return mean, std


def _histogram_moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    # A histogram is exact and avoids a float64 copy of possibly hundreds of megabytes of pixels.
    counts = [torch.bincount(rows[:, channel].reshape(-1), minlength=256) for channel in range(rows.shape[1])]
    shares = torch.stack(counts).double() / counts[0].sum()
    levels = torch.arange(256, dtype=torch.float64)
    mean = shares @ levels
    return mean, (shares * (levels - mean.unsqueeze(1)).square()).sum(dim=1).sqrt()
