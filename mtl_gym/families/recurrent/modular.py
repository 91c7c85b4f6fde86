"""Modular encoder and task-specific decoders: equations 1 to 5 of MT-RMN.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks", section "The MT-RMN Architecture".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLSTM, GroupedMLP
from mtl_gym.core.nn.typing import Context, Modules
from mtl_gym.families.recurrent.connections import ConnectionLayout, Gates

# Up to so many products, summing a stack of them takes fewer calls.
SMALL = 20_000


@dataclass(frozen=True)
class SharedOutput:
    """Outputs of a shared part at one time step.

    Attributes:
        knowledge: Knowledge taken by the task; float32 [rows, width].
        memory: Memory shown to routers and, if `Sharing.carries`, passed to the next step; float32 [rows, memory].
        gates: Connections, 1 for on; float32 [rows, connections].
    """

    knowledge: Tensor
    memory: Tensor
    gates: Tensor


class Sharing(nn.Module):
    """Part of a network that is shared by tasks.

    Attributes:
        layout: Connections decided at every time step.
        width: Width of the knowledge taken by a task.
        embedded: Width of the embedded inputs, which do not depend on connections.
        memory: Width of the memory.
        unit: Width of the outputs that policy networks score.
        carries: True if a step depends on the memory of the previous step; otherwise all steps run at once.
    """

    layout = ConnectionLayout()
    width: int
    embedded: int
    memory: int = 0
    unit: int = 0
    carries: bool = False

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Embed whole sequences, without any decision; [rows, steps, inputs] -> [rows, steps, embedded]."""
        raise NotImplementedError

    def share(
        self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates
    ) -> SharedOutput:
        """Run one time step.

        Args:
            embedded: Embedded inputs of the step; float32 [rows, embedded].
            own: Task-specific representations, or None; float32 [rows, own].
            memory: Memory of the previous step, initially zeros; float32 [rows, memory].
            groups: Dispatch of rows by task.
            gates: Source of the decisions.
        """
        raise NotImplementedError

    def show(self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates) -> Tensor:
        """Return the memory after one time step alone; arguments as for `share`, float32 [rows, memory]."""
        return self.share(embedded, own, memory, groups, gates).memory

    def choose(self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates) -> Tensor:
        """Return the decisions of one time step alone; arguments as for `share`, float32 [rows, connections]."""
        return self.share(embedded, own, memory, groups, gates).gates

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters used by all tasks, which are frozen for an unseen task (table 2)."""
        raise NotImplementedError


class ModularNetwork(Sharing):
    """MT-RMN: recurrent cells, layers of sub-encoders, and sub-decoders per task, with binary connections.

    Sub-networks without connections receive zeros.

    Args:
        inputs: Width of x_t.
        hidden: Width of cells, sub-encoders and sub-decoders.
        tasks: Number of tasks.
        layers: Number of sub-networks per layer; the first layer consists of LSTM cells.
        recursive: Use one set of sub-encoders for all layers ("rrn-RMN").

    Raises:
        ValueError: If there are fewer than two layers or an empty one, or recursive layers differ in size.

    Source: MT-RMN, eqs. 1, 4 and 5. MLPs have one hidden layer of width `hidden`.

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
            raise ValueError(f"layers={layers} is invalid; use two or more layers of one or more sub-networks each.")
        if recursive and len(set(layers[1:])) > 1:
            raise ValueError(
                f"layers={layers} is invalid for recursive sub-encoders; use equal sizes after the first layer."
            )
        self.layout, self.layers, self.hidden = ConnectionLayout.of_layers(layers), layers, hidden
        self.cells = GroupedLSTM(layers[0], inputs, hidden)
        sets = layers[1:2] if recursive else layers[1:]
        self.sub_encoders: Modules[GroupedMLP] = Modules(GroupedMLP(size, hidden, hidden, hidden) for size in sets)
        self.sub_decoders: Modules[GroupedMLP] = Modules(GroupedMLP(tasks, hidden, hidden, hidden) for _ in layers[1:])
        self.width, self.unit = (len(layers) - 1) * hidden, hidden
        self.embedded, self.memory = layers[0] * hidden, sum(layers[1:]) * hidden

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return the concatenated hidden states h_{t,i} of the cells (eq. 1)."""
        return self.cells.of_all(x).flatten(2)

    def units(self, flat: Tensor) -> Tensor:
        """Split the outputs of a layer by sub-network; [rows, n * hidden] -> [n, rows, hidden]."""
        return flat.unflatten(-1, (-1, self.hidden)).movedim(-2, 0)

    def sub_encoder(self, block: int) -> GroupedMLP:
        """Return the sub-encoders that receive a block of connections."""
        sets = list(self.sub_encoders)  # several times as fast as indexing a ModuleList
        return sets[min(block, len(sets) - 1)]

    def share(
        self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates
    ) -> SharedOutput:
        """Decide, average connected outputs (eq. 4) and apply sub-encoders (eq. 5), layer by layer."""
        outputs, decided, taken = self._decide(embedded, own, groups, gates)
        knowledge = [
            decoder.of_rows(connected(units, on.unsqueeze(2))[0], groups)
            for decoder, units, on in zip(self.sub_decoders, outputs, taken, strict=True)
        ]
        return SharedOutput(torch.cat(knowledge, 1), _shown(outputs), _flat(decided, taken))

    def show(self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates) -> Tensor:
        """Return the outputs of the sub-encoders, without any sub-decoder."""
        return _shown(self._encode(embedded, gates)[0])

    def choose(self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates) -> Tensor:
        """Decide layer by layer, without any sub-decoder."""
        _, decided, taken = self._decide(embedded, own, groups, gates)
        return _flat(decided, taken)

    def _decide(
        self, embedded: Tensor, own: Tensor | None, groups: Dispatch, gates: Gates
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the results of `_encode`, and the connections [rows, from] to each sub-decoder."""
        outputs, decided = self._encode(embedded, gates)
        return outputs, decided, [gates.decoder(block, units, own, groups) for block, units in enumerate(outputs)]

    def _encode(self, embedded: Tensor, gates: Gates) -> tuple[list[Tensor], list[Tensor]]:
        """Return outputs [n, rows, hidden] and connections [rows, from, to] of every layer of sub-encoders."""
        units, outputs, decided = self.units(embedded), [], []
        for block in range(len(self.layout.encoder)):
            on = gates.encoder(block, units)
            units = self.sub_encoder(block).forward(connected(units, on))
            outputs.append(units)
            decided.append(on)
        return outputs, decided

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the encoder."""
        return [*self.cells.parameters(), *self.sub_encoders.parameters()]


def _shown(outputs: list[Tensor]) -> Tensor:
    """Concatenate the outputs of all sub-encoders; [n, rows, hidden] of each layer -> [rows, memory]."""
    return torch.cat([part for layer in outputs for part in layer.unbind()], 1)


def _flat(decided: list[Tensor], taken: list[Tensor]) -> Tensor:
    """Concatenate connections of the encoder, [rows, from, to] each, and to sub-decoders; [rows, connections]."""
    return torch.cat([*(on.flatten(1) for on in decided), *taken], 1)


def connected(units: Tensor, on: Tensor) -> Tensor:
    """Return the mean of the connected outputs, zeros without connections.

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
    weights = shares.permute(2, 1, 0).contiguous().unsqueeze(3)
    return _WeightedSum.apply(weights, units) if torch.is_grad_enabled() else weighted_sum(weights, units)


class _WeightedSum(torch.autograd.Function):
    """`weighted_sum` whose gradient is another one, without a stack of all products."""

    @staticmethod
    def forward(ctx: Context, weights: Tensor, units: Tensor) -> Tensor:
        ctx.save_for_backward(weights, units)
        return weighted_sum(weights, units)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (weights, units), (into,) = ctx.saved_tensors, gradients
        to_weights = (into.unsqueeze(1) * units).sum(3, keepdim=True) if ctx.needs_input_grad[0] else None
        return to_weights, weighted_sum(weights.transpose(0, 1), into)


def weighted_sum(weights: Tensor, units: Tensor) -> Tensor:
    """Return sums over sources; [to, from, rows, 1] and [from, rows, width] -> [to, rows, width].

    Many rows are added up source by source, in the cache; the result is the same to the bit.
    """
    if weights.shape[0] * units.numel() <= SMALL:
        return (weights * units).sum(1)
    total = weights[:, 0] * units[0]
    product = torch.empty_like(total)
    for weight, unit in zip(weights.unbind(1)[1:], units.unbind()[1:], strict=True):
        total.add_(torch.mul(weight, unit, out=product))
    return total
