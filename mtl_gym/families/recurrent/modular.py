"""The modular encoder and the task-specific decoders: equations 1 to 5 of MT-RMN.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks", section "The MT-RMN Architecture".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLSTM, GroupedMLP
from mtl_gym.core.nn.typing import Modules
from mtl_gym.families.recurrent.connections import Gates, Layout


@dataclass(frozen=True)
class Shared:
    """What a part that tasks share gave in one time step.

    Attributes:
        knowledge: What the task takes from it; float32 [rows, width].
        memory: What it shows, and may carry to the next step; float32 [rows, memory].
        gates: The connections that were on; float32 [rows, connections].
    """

    knowledge: Tensor
    memory: Tensor
    gates: Tensor


class Sharing(nn.Module):
    """A part of the network that tasks share, beside what each has for itself.

    Attributes:
        layout: The connections that are decided at every time step.
        width: Of the knowledge that a task takes from it.
        embedded: Width of what does not depend on the connections.
        memory: Width of what it shows of the step before.
        unit: Width of the outputs that policy networks score.
        carries: Whether the memory takes part in the next step; if not, all steps can be run at once.
    """

    layout = Layout()
    width: int
    embedded: int
    memory: int = 0
    unit: int = 0
    carries: bool = False

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Whole sequences, as far as no decision matters; [rows, steps, inputs] -> [rows, steps, embedded]."""
        raise NotImplementedError

    def share(self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates) -> Shared:
        """One time step.

        Args:
            embedded: What `embed` gave; float32 [rows, embedded].
            own: The tasks' own representations; float32 [rows, own], or None.
            memory: Of the step before, zeros at first; float32 [rows, memory].
            groups: Rows by task.
            gates: Where the decisions come from.
        """
        raise NotImplementedError

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those that all tasks use: what stays fixed when an unseen task arrives (table 2)."""
        raise NotImplementedError


class ModularNetwork(Sharing):
    """MT-RMN: recurrent cells, layers of sub-encoders, and sub-decoders of every task; connections are binary.

    Sub-networks without an input get zeros.

    Args:
        inputs: Width of x_t.
        hidden: Width of cells, sub-encoders and sub-decoders.
        tasks: Number of tasks.
        layers: Sub-networks per layer; the first are LSTM cells.
        recursive: All layers of sub-encoders are the same ("rrn-RMN"): one set, applied again and again.

    Source: MT-RMN, eqs. 1, 4 and 5. MLPs have one hidden layer, as wide as the rest.

    Example:
        >>> network = ModularNetwork(inputs=10, hidden=8, tasks=4)
        >>> network.layout.c1, network.layout.c2, network.embedded, network.memory, network.width
        (18, 6, 24, 48, 16)
    """

    def __init__(
        self, inputs: int, hidden: int, tasks: int, layers: tuple[int, ...] = (3, 3, 3), recursive: bool = False
    ) -> None:
        super().__init__()
        if len(layers) < 2 or min(layers) < 1:
            raise ValueError(f"layers={layers} is not possible; it takes two or more layers of 1 or more sub-networks.")
        if recursive and len(set(layers[1:])) > 1:
            raise ValueError(
                f"layers={layers} is not possible for one recursive set: all but the first must be as large."
            )
        self.layout, self.layers, self.hidden = Layout.of_layers(layers), layers, hidden
        self.cells = GroupedLSTM(layers[0], inputs, hidden)
        sets = layers[1:2] if recursive else layers[1:]
        self.sub_encoders: Modules[GroupedMLP] = Modules(GroupedMLP(size, hidden, hidden, hidden) for size in sets)
        self.sub_decoders: Modules[GroupedMLP] = Modules(GroupedMLP(tasks, hidden, hidden, hidden) for _ in layers[1:])
        self.width, self.unit = (len(layers) - 1) * hidden, hidden
        self.embedded, self.memory = layers[0] * hidden, sum(layers[1:]) * hidden

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Hidden states h_{t,i} of the cells, side by side (eq. 1)."""
        return self.cells.of_all(x).flatten(2)

    def units(self, flat: Tensor) -> Tensor:
        """Sub-networks of a layer apart; [rows, n * hidden] -> [n, rows, hidden]."""
        return flat.unflatten(-1, (-1, self.hidden)).movedim(-2, 0)

    def sub_encoder(self, block: int) -> GroupedMLP:
        """The sub-encoders that a block of connections leads to."""
        return self.sub_encoders[min(block, len(self.sub_encoders) - 1)]

    def share(self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates) -> Shared:
        """Layer after layer: decide, average what is connected (eq. 4), apply the sub-encoders (eq. 5)."""
        units, outputs, decided = self.units(embedded), [], []
        for block in range(len(self.layout.encoder)):
            on = gates.encoder(block, units)
            units = self.sub_encoder(block)(connected(units, on))
            outputs.append(units)
            decided.append(on.flatten(1))
        taken = [gates.decoder(block, units, own, groups) for block, units in enumerate(outputs)]
        knowledge = [
            decoder.of_rows(connected(units, on.unsqueeze(2))[0], groups)
            for decoder, units, on in zip(self.sub_decoders, outputs, taken, strict=True)
        ]
        shown = torch.cat([layer.movedim(0, 1).flatten(1) for layer in outputs], 1)
        return Shared(torch.cat(knowledge, 1), shown, torch.cat([*decided, *taken], 1))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the encoder."""
        return [*self.cells.parameters(), *self.sub_encoders.parameters()]


def connected(units: Tensor, on: Tensor) -> Tensor:
    """The mean of the connected outputs, zeros where nothing is connected.

    Args:
        units: u_{t,i}; float32 [from, rows, width].
        on: Binary decisions; float32 [rows, from, to].

    Returns:
        v_{t,j}; float32 [to, rows, width].

    Source: MT-RMN, eq. 4.

    Example:
        >>> units = torch.tensor([[[2.0]], [[4.0]]])
        >>> connected(units, torch.tensor([[[1.0, 1, 0], [0, 1, 0]]])).flatten()
        tensor([2., 3., 0.])
    """
    shares = on / on.sum(1, keepdim=True).clamp(min=1)
    # Products and a sum: a batched product would run over samples.
    return (shares.permute(2, 1, 0).unsqueeze(3) * units).sum(1)
