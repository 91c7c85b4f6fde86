"""Alternatives to the modular network for sharing knowledge between tasks.

Source: Xu et al. 2021 (MT-RMN), tables 1 to 3: DC-MTL, IC-MTL and RRNs.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear, GroupedLSTM, GroupedMLP
from mtl_gym.families.recurrent.connections import ConnectionLayout, Gates
from mtl_gym.families.recurrent.modular import SharedOutput, Sharing, connected


class Communicating(Sharing):
    """One LSTM per task, with messages between them at every step and no routing.

    A message is an average of states, weighted by their match with the state of the receiver (scaled dot products).

    Args:
        inputs: Width of x_t.
        hidden: Width of the LSTMs.
        tasks: Number of tasks.

    Source: Liu et al. 2019, "Learning Multi-Task Communication with Message Passing for Sequence Learning".
    """

    def __init__(self, inputs: int, hidden: int, tasks: int) -> None:
        super().__init__()
        self.width = self.embedded = hidden
        self.lstms = GroupedLSTM(tasks, inputs + hidden, hidden)
        self.match = GroupedLinear(tasks, hidden, hidden, bias=False)

    def share(
        self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates
    ) -> SharedOutput:
        """Return the state of the LSTM of each row's task."""
        return SharedOutput(embedded, memory, embedded.new_zeros(len(embedded), 0))

    def _own_states(self, states: list[Tensor], groups: Dispatch) -> Tensor:
        """Select the states of each row's task; [tasks, rows, hidden] per step -> [rows, steps, hidden]."""
        rows = torch.arange(len(groups.group), device=groups.group.device)
        return torch.stack(states, 2)[groups.group, rows]


class DirectCommunication(Communicating):
    """DC-MTL: the LSTM of a task reads the states of all other LSTMs at the previous step of the same input.

    Example:
        >>> import numpy as np
        >>> sharing = DirectCommunication(inputs=4, hidden=8, tasks=2)
        >>> sharing.embed(torch.zeros(3, 5, 4), Dispatch.of(np.array([0, 1, 1]), 2)).shape
        torch.Size([3, 5, 8])
    """

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Embed sequences, as `Sharing.embed`."""
        tasks = len(self.lstms.recurrent)
        state, states = self.lstms.begin(len(x)), []
        to_itself = torch.eye(tasks, dtype=torch.bool, device=x.device)[:, None]
        for now in x.unbind(1):
            message = messages(self.match(state[0]), state[0], to_itself if tasks > 1 else None)
            read = torch.cat([now.expand(tasks, -1, -1), message], 2)
            state = self.lstms.step(self.lstms.input(read), state)
            states.append(state[0])
        return self._own_states(states, groups)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return an empty list: every LSTM belongs to one task."""
        return []


class IndirectCommunication(Communicating):
    """IC-MTL: the LSTMs of tasks communicate through a common LSTM, which reads all of them and is read by all."""

    def __init__(self, inputs: int, hidden: int, tasks: int) -> None:
        super().__init__(inputs, hidden, tasks)
        self.common = GroupedLSTM(1, inputs + hidden, hidden)
        self.match = GroupedLinear(1, hidden, hidden, bias=False)

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Embed sequences, as `Sharing.embed`."""
        tasks = len(self.lstms.recurrent)
        state, common, states = self.lstms.begin(len(x)), self.common.begin(len(x)), []
        for now in x.unsqueeze(0).unbind(2):
            heard = messages(self.match(common[0]), state[0])
            told = common[0].expand(tasks, -1, -1)
            state = self.lstms.step(self.lstms.input(torch.cat([now.expand(tasks, -1, -1), told], 2)), state)
            common = self.common.step(self.common.input(torch.cat([now, heard], 2)), common)
            states.append(state[0])
        return self._own_states(states, groups)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the common LSTM and of its matching weights."""
        return [*self.common.parameters(), *self.match.parameters()]


def messages(asking: Tensor, states: Tensor, hidden_from: Tensor | None = None) -> Tensor:
    """Return the message to each receiver: an average of states, weighted by scaled dot products with its query.

    Args:
        asking: Queries of the receivers; float32 [receivers, rows, hidden].
        states: States of the senders; float32 [senders, rows, hidden].
        hidden_from: Mask of senders excluded for a receiver; bool [receivers, 1, senders].

    Returns:
        float32 [receivers, rows, hidden].
    """
    match = (asking.unsqueeze(1) * states).sum(3).movedim(1, 2) / sqrt(states.shape[2])
    if hidden_from is not None:
        match = match.masked_fill(hidden_from, -torch.inf)
    weights = match.softmax(2).movedim(2, 1).unsqueeze(3)
    return (weights * states).sum(1)


class RecursiveRouting(Sharing):
    """RRN: repeated transformation of the input by one set of functions, followed by an LSTM.

    The connections select the functions at every depth. Outputs of several functions are averaged; without a function,
    the value is unchanged.

    Args:
        inputs: Width of x_t.
        hidden: Width of functions and LSTM.
        tasks: Number of tasks.
        functions: Number of functions.
        depth: Number of times that functions are applied.

    Source: Cases et al. 2019, "Recursive Routing Networks"; "We apply RRNs to route an LSTM input transformation"
    (MT-RMN).

    Deviation: the original picks exactly one function per depth; here connections are binary, as in the whole family.
    """

    carries = True

    def __init__(self, inputs: int, hidden: int, tasks: int, functions: int = 3, depth: int = 2) -> None:
        super().__init__()
        self.layout = ConnectionLayout(decoder=(functions,) * depth)
        self.width = self.embedded = hidden
        self.memory, self.unit = 2 * hidden, hidden
        self.input = GroupedLinear(1, inputs, hidden)
        self.functions = GroupedMLP(functions, hidden, hidden, hidden)
        self.lstm = GroupedLSTM(1, hidden, hidden)

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Project inputs to the width of the functions; [rows, steps, inputs] -> [rows, steps, hidden]."""
        return self.input(x[None])[0]

    def share(
        self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates
    ) -> SharedOutput:
        """Transform the input by the connected functions, then take one step of the LSTM."""
        value, decided = embedded, []
        for depth in range(len(self.layout.decoder)):
            proposed = self.functions(value.expand(len(self.functions.hidden.weight), -1, -1))
            on = gates.decoder(depth, proposed, own, groups)
            transformed = connected(proposed, on.unsqueeze(2))[0]
            value = torch.where(on.sum(1, keepdim=True) > 0, transformed, value)
            decided.append(on)
        before, carried = memory[None].chunk(2, 2)
        hidden, cell = self.lstm.step(self.lstm.input(value[None]), (before, carried))
        return SharedOutput(hidden[0], torch.cat([hidden[0], cell[0]], 1), torch.cat(decided, 1))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return all parameters."""
        return list(self.parameters())
