"""A small convolutional encoder, and its weights in a file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mtl_gym.data.caching import DAMAGED, write_arrays
from mtl_gym.data.errors import damaged

_WIDTHS = "widths"


class ConvEncoder(nn.Module):
    """Convolutions with batch norm; each halves height and width, the first by its stride.

    Args:
        widths: Channels of the inputs, and of each convolution.

    Example:
        >>> ConvEncoder((3, 16, 32)).eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 32])
    """

    def __init__(self, widths: Sequence[int] = (3, 32, 64, 128)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stages = nn.Sequential(
            *(_stage(before, after, first=not stage) for stage, (before, after) in enumerate(pairwise(widths)))
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images, float32 `[rows, channels, height, width]`, to features, float32 `[rows, widths[-1]]`."""
        return self.stages(images).mean((2, 3))


def _stage(before: int, after: int, first: bool) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=2 if first else 1, padding=1, bias=False)
    norm_and_bend = [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(convolution, *norm_and_bend, *([] if first else [nn.MaxPool2d(2)]))


def write_encoder(path: Path, encoder: ConvEncoder) -> None:
    """Write an encoder's widths and weights to a `.npz` file, completely or not at all.

    Raises:
        ValueError: If the path does not end in ".npz", by which `encoder_of` finds the file.
        OSError: If the file cannot be written.
    """
    if path.suffix != ".npz":
        raise ValueError(f"{path} is no name of an encoder's file; name it {path.with_suffix('.npz').name}")
    arrays = {name: value.detach().cpu().numpy() for name, value in encoder.state_dict().items()}
    write_arrays(path, arrays | {_WIDTHS: np.array(encoder.widths)})


def read_encoder(path: Path) -> ConvEncoder:
    """Read an encoder that `write_encoder` wrote; no code in the file is run.

    Raises:
        DamagedDataError: If the file is damaged or holds something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            encoder = ConvEncoder(archive[_WIDTHS].tolist())
            encoder.load_state_dict(
                {name: torch.from_numpy(archive[name]) for name in archive.files if name != _WIDTHS}
            )
    except (*DAMAGED, OSError, KeyError) as error:
        raise damaged(path, f"it holds no encoder ({str(error).splitlines()[0]})") from error
    return encoder.float().eval()  # whatever the default dtype is
