"""Which architecture fits which task.

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
    """An architecture as a template.

    Attributes:
        module: The module.
        keep: Names of its layers that stay as they are.
    """

    module: nn.Module
    keep: Sequence[str] = ()


@dataclass(frozen=True)
class Width:
    """How large the cross-modal architectures are.

    Attributes:
        dense: Units of LeNet's two dense layers.
        lstm: Units of each LSTM layer, and of the words' vectors.
        filters: Of the convolution over DNA, and units of the dense layer behind it.
        kernel: Length of that convolution.
    """

    dense: tuple[int, int]
    lstm: int
    filters: int
    kernel: int


WIDTHS = {"small": Width((64, 48), 32, 32, 12), "paper": Width((128, 96), 256, 256, 24)}


class Linear(nn.Linear):
    """A linear model without bias, He normal at first."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")


class LeNet(nn.Module):
    """Two convolutions and three dense layers, for uint8 pictures [rows, 3, 32, 32].

    Args:
        dense: Units of the first two dense layers.
        classes: Of the last.
    """

    def __init__(self, dense: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 5, padding=1), nn.Conv2d(16, 16, 5, padding=1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(576, dense[0]), nn.Linear(*dense), nn.Linear(dense[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, [rows, classes]."""
        x = x.float() / 127.5 - 1
        for conv in (self.conv1, self.conv2):
            x = nn.functional.max_pool2d(conv(x).relu(), 2)
        return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())


class StackedLSTM(nn.Module):
    """A language model of two LSTM layers, whose words have the same vectors before and behind them.

    Args:
        units: Of each layer.
        words: In the vocabulary.
    """

    def __init__(self, units: int, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, units)
        self.lstm = nn.LSTM(units, units, num_layers=2, batch_first=True)
        self.decoder = Tied(self.embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next word at each place; int64 [rows, steps] -> [rows, steps, words]."""
        return self.decoder(self.lstm(self.embedding(tokens))[0])


class Tied(nn.Module):
    """Scores words by their own vectors.

    Args:
        embedding: That has them; drawn anew, they are small enough for the first scores to be even.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight, self.bias = embedding.weight, nn.Parameter(torch.zeros(embedding.num_embeddings))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.uniform_(self.weight, -0.1, 0.1)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, [..., words]."""
        return nn.functional.linear(x, self.weight, self.bias)


class DeepBind(nn.Module):
    """A convolution over DNA, its maximum over all places, and two dense layers; int64 [rows, length] -> [rows, 1].

    Args:
        filters: Of the convolution; also the units of the dense layer.
        kernel: Its length.
    """

    def __init__(self, filters: int, kernel: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, filters)
        self.conv = nn.Conv1d(filters, filters, kernel)
        self.fc1, self.fc2 = nn.Linear(filters, filters), nn.Linear(filters, 1)

    def forward(self, bases: Tensor) -> Tensor:
        """The binding strength."""
        x = self.conv(self.embedding(bases).transpose(1, 2)).relu().amax(-1)
        return self.fc2(self.fc1(x).relu())


CROSS_MODAL: dict[str, Callable[[Width, int], Architecture]] = {
    "vision": lambda width, classes: Architecture(LeNet(width.dense, classes), ("conv1", "fc3")),
    "text": lambda width, words: Architecture(StackedLSTM(width.lstm, words)),
    "dna": lambda width, _: Architecture(DeepBind(width.filters, width.kernel), ("fc2",)),
}


def architecture_for(task: TaskData, name: str, width: Width) -> Architecture:
    """Return the architecture that fits a task of the data set of that name.

    Raises:
        ValueError: If none is known.
    """
    if name == "cross-modal" and task.name in CROSS_MODAL:
        return CROSS_MODAL[task.name](width, task.outputs)
    if task.kind == "regression" and len(task.input_shape) == 1:
        return Architecture(Linear(task.input_shape[0], task.outputs, bias=False))
    raise ValueError(
        f"No architecture is known for task {task.name!r} of {name!r}, {task}; give one module for each task in "
        "network."
    )
