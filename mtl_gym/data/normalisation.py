"""Mean and standard deviation of training inputs."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mtl_gym.data.split import Split


def statistics(x: Tensor, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over rows, and over everything after the first axis of an input.

    Args:
        x: Training inputs, ``[rows, *input_shape]``, uint8 or floating.
        per_channel: One value per entry of the first input axis (a feature, or an image's channel);
            otherwise a single value for all of them.

    Returns:
        ``(mean, std)``, float32, broadcastable to the input shape: ``[channels, 1, ...]`` or ``[1, ...]``.
        Where the inputs never vary, std is 1, so that normalising leaves 0 instead of dividing by 0.
    """
    rows = x if per_channel else x.reshape(len(x), 1, -1)
    mean, std = _histogram_moments(rows) if x.dtype == torch.uint8 else _moments(rows)
    shape = (rows.shape[1], *(1 for _ in x.shape[2:]))
    return mean.float().reshape(shape), torch.where(std == 0, 1.0, std).float().reshape(shape)


def standardised(splits: Mapping[str, Split], tasks: int) -> dict[str, Split]:
    """Feature vectors, each with the mean and standard deviation of its own task's training rows taken out.

    For tables that have nothing to do with each other: one feature's column is another's of other units there.
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
    # A histogram is exact and needs no float64 copy of what may be hundreds of megabytes of pixels.
    counts = [torch.bincount(rows[:, channel].reshape(-1), minlength=256) for channel in range(rows.shape[1])]
    shares = torch.stack(counts).double() / counts[0].sum()
    levels = torch.arange(256, dtype=torch.float64)
    mean = shares @ levels
    return mean, (shares * (levels - mean.unsqueeze(1)).square()).sum(dim=1).sqrt()
