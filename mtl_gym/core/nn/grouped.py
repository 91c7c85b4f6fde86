"""Grouped layers: one batched product for all sub-networks of a layer, or for all tasks.

A group is a sub-network or a task. Its weights are one slice of a stacked parameter; no loop runs over groups or
samples.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch

# Up to so many LSTMs, one fused call for each is cheaper than a loop over steps for all (benchmarks/recurrent.py).
FUSED_GROUPS = 8


class Grouped(nn.Module):
    """A layer per group, with parameters stacked along their first axis."""

    def of_rows(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return the output of each row's own layer; [rows, *shape, inputs] -> [rows, *shape, outputs]."""
        return groups.gather(self(groups.spread(x)))


class GroupedLinear(Grouped):
    """One linear layer per group.

    Args:
        groups: How many.
        inputs: Width of the input.
        outputs: Width of the output.
        bias: Whether there is one.

    Example:
        >>> import numpy as np
        >>> layer, groups = GroupedLinear(3, 4, 2), Dispatch.of(np.array([2, 0]), 3)
        >>> layer(torch.zeros(3, 5, 4)).shape, layer.of_rows(torch.zeros(2, 4), groups).shape
        (torch.Size([3, 5, 2]), torch.Size([2, 2]))
    """

    def __init__(self, groups: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(groups, 1, outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `nn.Linear` does."""
        reach = 1 / sqrt(max(self.weight.shape[1], 1))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -reach, reach)

    def forward(self, x: Tensor) -> Tensor:
        """Each group on its own rows; [groups, *rows, inputs] -> [groups, *rows, outputs]."""
        weight, bias, rows = self.weight, self.bias, x if x.ndim == 3 else x.flatten(1, -2)
        y = rows @ weight if bias is None else torch.baddbmm(bias, rows, weight)
        return y if x.ndim == 3 else y.view(*x.shape[:-1], y.shape[-1])


class GroupedMLP(Grouped):
    """One two-layer perceptron per group, with ReLU between the layers.

    Args:
        groups: How many.
        inputs: Width of the input.
        hidden: Width of the hidden layer.
        outputs: Width of the output.

    Example:
        >>> GroupedMLP(3, 4, 8, 2)(torch.zeros(3, 5, 4)).shape
        torch.Size([3, 5, 2])
    """

    def __init__(self, groups: int, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = GroupedLinear(groups, inputs, hidden)
        self.output = GroupedLinear(groups, hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Each group on its own rows; [groups, *rows, inputs] -> [groups, *rows, outputs]."""
        return self.output.forward(self.hidden.forward(x).relu())


class GroupedLSTM(Grouped):
    """One LSTM per group.

    A sequence takes one fused call per group, or, where there are many groups and on a GPU, one loop over its steps for
    all groups.

    Args:
        groups: How many.
        inputs: Width of the input.
        hidden: Width of the hidden state.

    Source: Hochreiter and Schmidhuber 1997, in the form of `torch.nn.LSTM` (gates in the order i, f, g, o).

    Example:
        >>> GroupedLSTM(3, 4, 8)(torch.zeros(3, 5, 7, 4)).shape
        torch.Size([3, 5, 7, 8])
    """

    def __init__(self, groups: int, inputs: int, hidden: int) -> None:
        super().__init__()
        self.size, self.fused = hidden, groups <= FUSED_GROUPS
        self.input = GroupedLinear(groups, inputs, 4 * hidden)
        self.recurrent = nn.Parameter(torch.empty(groups, hidden, 4 * hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `nn.LSTM` does."""
        reach = 1 / sqrt(self.size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -reach, reach)

    def begin(self, rows: int) -> tuple[Tensor, Tensor]:
        """Hidden and cell state before the first step: zeros [groups, rows, hidden]."""
        zeros = self.recurrent.new_zeros(len(self.recurrent), rows, self.size)
        return zeros, zeros

    def step(self, fed: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One step, from what `input` made of it, [groups, rows, 4 hidden]; hidden and cell state."""
        hidden, cell = state
        gates = torch.baddbmm(fed, hidden, self.recurrent)
        i, f, g, o = gates.chunk(4, -1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states of whole sequences; [groups, rows, steps, inputs] -> [groups, rows, steps, hidden]."""
        # cuDNN would warn of weights that are not in one piece, at every call.
        return self._fused(x) if self.fused and x.device.type == "cpu" else self._in_turn(x)

    def _fused(self, x: Tensor) -> Tensor:
        """Run torch's kernel of whole sequences on each group."""
        zeros, gradient = x.new_zeros(1, x.shape[1], self.size), torch.is_grad_enabled()
        bias, none = self.input.bias, x.new_zeros(4 * self.size)
        assert bias is not None
        weights = zip(self.input.weight.mT.unbind(), self.recurrent.mT.unbind(), bias.squeeze(1).unbind(), strict=True)
        kernels = [[part.contiguous() for part in (*weight, none)] for weight in weights]
        calls = zip(x.unbind(), kernels, strict=True)
        return torch.stack(
            [torch.lstm(rows, (zeros, zeros), kernel, True, 1, 0.0, gradient, False, True)[0] for rows, kernel in calls]
        )

    def _in_turn(self, x: Tensor) -> Tensor:
        state, hidden = self.begin(x.shape[1]), []
        for fed in self.input(x).unbind(2):  # indexing would fill a gradient of all steps at every step
            state = self.step(fed, state)
            hidden.append(state[0])
        return torch.stack(hidden, 2)

    def of_all(self, x: Tensor) -> Tensor:
        """All rows through every LSTM; [rows, steps, inputs] -> [rows, steps, groups, hidden]."""
        everywhere = x.expand(len(self.recurrent), *x.shape)
        return self(everywhere).permute(1, 2, 0, 3)
