"""Wide residual networks for the pictures of `cross-modal`, the "W" of MUiR's table 3.

Option `network` of an alignment environment: `"mtl_gym.families.alignment.wide_resnet:small"`, with
`keep=[["conv", "fc"], [], ["fc2"]]`, which leaves the first and last layers as they are.

Source: MUiR, section 4.2. Zagoruyko, Komodakis 2016: "Wide residual networks".
"""

from __future__ import annotations

from torch import Tensor, nn

from mtl_gym.core.options import NetworkContext
from mtl_gym.data import TaskCollection
from mtl_gym.families.alignment.options import AlignmentOptions
from mtl_gym.families.alignment.presets import WIDTHS, architecture_for

STAGES = (16, 32, 64)
CHANNELS_PER_GROUP = 8


class Unit(nn.Module):
    """Residual unit: twice norm, ReLU and 3 x 3 convolution, beside a shortcut.

    Where the shape changes, the shortcut is a convolution of the normed and activated input; elsewhere it is the input.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        stride: Stride of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = convolution(inputs, outputs, stride), convolution(outputs, outputs)
        changes = inputs != outputs or stride != 1
        self.shortcut = convolution(inputs, outputs, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths; [rows, inputs, height, width] -> [rows, outputs, ...]."""
        active = self.norm1(x).relu()
        beside = x if self.shortcut is None else self.shortcut(active)
        sum_: Tensor = beside + self.conv2(self.norm2(self.conv1(active)).relu())
        return sum_


class WideResNet(nn.Module):
    """Wide residual network for uint8 images [rows, 3, height, width].

    Args:
        classes: Number of classes.
        depth: Number of layers, 6 n + 4.
        widening: Factor of the 16, 32 and 64 channels of its three stages.

    Raises:
        ValueError: If there is no network of that depth.

    Source: Zagoruyko, Komodakis 2016, table 1, and their program for the shortcuts.

    Deviation: shortcuts are 3 x 3 convolutions instead of 1 x 1, which gives depth 40 the 2,268 blocks of 16 x 16 that
    MUiR reports. Group norm, which does not mix samples, instead of batch norm. Pictures are scaled to [-1, 1] and
    neither shifted nor flipped in training.

    Example:
        >>> import torch
        >>> WideResNet(10, depth=10)(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int, depth: int = 40, widening: int = 1) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth={depth} is not possible; it takes 6 n + 4, such as 10, 16 or 40.")
        sizes = [STAGES[0], *(widening * channels for channels in STAGES)]
        self.conv = convolution(3, sizes[0])
        self.stages = nn.Sequential(
            *(
                Unit(sizes[stage] if unit == 0 else size, size, 2 if stage and unit == 0 else 1)
                for stage, size in enumerate(sizes[1:])
                for unit in range((depth - 4) // 6)
            )
        )
        self.norm, self.fc = norm(sizes[-1]), nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; float32 [rows, classes]."""
        x = self.stages(self.conv(x.float() / 127.5 - 1))
        scores: Tensor = self.fc(self.norm(x).relu().mean((2, 3)))
        return scores


class Convolution(nn.Conv2d):
    """Convolution without bias, with He normal initial weights."""

    def reset_parameters(self) -> None:
        """Redraw the weights."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3 x 3 convolution that keeps the size of an image with stride 1."""
    return Convolution(inputs, outputs, 3, stride, padding=1, bias=False)


def norm(channels: int) -> nn.GroupNorm:
    """Return a group norm with eight channels in a group."""
    return nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels)


def small(context: NetworkContext) -> list[nn.Module]:
    """Return WRN-10-1 for the pictures, and the default networks of the other tasks."""
    return _networks(context, depth=10)


def paper(context: NetworkContext) -> list[nn.Module]:
    """Return WRN-40-1 for the pictures, and the default networks of the other tasks."""
    return _networks(context, depth=40)


def _networks(context: NetworkContext, depth: int) -> list[nn.Module]:
    data, options = context.data, context.options
    assert isinstance(data, TaskCollection) and isinstance(options, AlignmentOptions)
    return [
        WideResNet(task.outputs, depth)
        if task.name == "vision"
        else architecture_for(task, data.name, WIDTHS[options.width]).module
        for task in data.tasks
    ]
