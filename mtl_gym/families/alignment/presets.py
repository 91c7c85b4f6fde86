"""Default architectures by task.

Source: MUiR, sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtl_gym.data import TaskData


@dataclass(frozen=True)
class Architecture:
    """Template of an architecture.

    Attributes:
        module: The module.
        keep: Names of layers to leave unchanged.
    """

    module: nn.Module
    keep: Sequence[str] = ()


@dataclass(frozen=True)
class Width:
    """Sizes of the cross-modal architectures.

    Attributes:
        dense: Units of LeNet's two dense layers.
        lstm: Units of each LSTM layer, and width of word vectors.
        filters: Filters of the convolution over DNA, and units of the dense layer after it.
        kernel: Kernel length of the convolution over DNA.
    """

    dense: tuple[int, int]
    lstm: int
    filters: int
    kernel: int


WIDTHS = {"small": Width((64, 48), 32, 32, 12), "paper": Width((128, 96), 256, 256, 24)}


class Linear(nn.Linear):
    """Linear layer with He normal initial weights."""

    def reset_parameters(self) -> None:
        """Redraw the weights."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")


class LeNet(nn.Module):
    """Two convolutions and three dense layers for uint8 images [rows, 3, 32, 32].

    Args:
        dense: Units of the first two dense layers.
        classes: Units of the last dense layer.
    """

    def __init__(self, dense: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 5, padding=1), nn.Conv2d(16, 16, 5, padding=1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(576, dense[0]), nn.Linear(*dense), nn.Linear(dense[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; float32 [rows, classes]."""
        x = x.float() / 127.5 - 1
        for conv in (self.conv1, self.conv2):
            x = nn.functional.max_pool2d(conv(x).relu(), 2)
        return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())


class StackedLSTM(nn.Module):
    """Language model of two LSTM layers with tied input and output word vectors.

    Args:
        units: Units of each layer.
        words: Size of the vocabulary.
    """

    def __init__(self, units: int, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, units)
        self.lstm = nn.LSTM(units, units, num_layers=2, batch_first=True)
        self.decoder = Tied(self.embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of the next word at each step; int64 [rows, steps] -> float32 [rows, steps, words]."""
        return self.decoder(self.lstm(self.embedding(tokens))[0])


class Tied(nn.Module):
    """Output layer that shares the word vectors of an embedding.

    Args:
        embedding: The embedding; its vectors are redrawn small, for nearly equal initial scores.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight, self.bias = embedding.weight, nn.Parameter(torch.zeros(embedding.num_embeddings))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw the weights."""
        nn.init.uniform_(self.weight, -0.1, 0.1)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; float32 [..., words]."""
        return nn.functional.linear(x, self.weight, self.bias)


class DeepBind(nn.Module):
    """A convolution over DNA, the maximum over all positions, and two dense layers.

    Args:
        filters: Filters of the convolution, and units of the first dense layer.
        kernel: Kernel length of the convolution.
    """

    def __init__(self, filters: int, kernel: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, filters)
        self.conv = nn.Conv1d(filters, filters, kernel)
        self.fc1, self.fc2 = nn.Linear(filters, filters), nn.Linear(filters, 1)

    def forward(self, bases: Tensor) -> Tensor:
        """Return the binding strength; int64 [rows, length] -> float32 [rows, 1]."""
        x = self.conv(self.embedding(bases).transpose(1, 2)).relu().amax(-1)
        return self.fc2(self.fc1(x).relu())


CROSS_MODAL: dict[str, Callable[[Width, int], Architecture]] = {
    "vision": lambda width, classes: Architecture(LeNet(width.dense, classes), ("conv1", "fc3")),
    "text": lambda width, words: Architecture(StackedLSTM(width.lstm, words)),
    "dna": lambda width, _: Architecture(DeepBind(width.filters, width.kernel), ("fc2",)),
}


def architecture_for(task: TaskData, name: str, width: Width) -> Architecture:
    """Return the default architecture of a task.

    Args:
        task: The task.
        name: Name of its data set.
        width: Sizes of cross-modal architectures.

    Raises:
        ValueError: If the task has no default architecture.
    """
    if name == "cross-modal" and task.name in CROSS_MODAL:
        return CROSS_MODAL[task.name](width, task.outputs)
    if task.kind == "regression" and len(task.input_shape) == 1:
        return Architecture(Linear(task.input_shape[0], task.outputs, bias=False))
    raise ValueError(
        f"Task {task.name!r} of {name!r}, {task}, has no default architecture: pass one module per task in network=."
    )
