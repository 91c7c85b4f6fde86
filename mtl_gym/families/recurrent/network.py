"""A multi-task recurrent network: what each task has for itself, what tasks share, and one answer or many.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear
from mtl_gym.families.recurrent.bases import Base
from mtl_gym.families.recurrent.connections import Gates, Layout
from mtl_gym.families.recurrent.modular import Shared, Sharing

Index: TypeAlias = NDArray[np.int64]
GatesOf: TypeAlias = Callable[[Tensor], Gates]

READOUTS = ("mean", "last", "every")


@dataclass(frozen=True)
class Sequences:
    """Which time steps a batch of sequences has.

    Attributes:
        task: int64 [rows].
        length: Steps of each; int64 [rows].
        steps: Steps that inputs are padded to.
        tasks: Number of tasks.
        device: Where tensors are wanted.
    """

    task: Index
    length: Index
    steps: int
    tasks: int
    device: torch.device

    @cached_property
    def groups(self) -> Dispatch:
        """Rows by task."""
        return Dispatch.of(self.task, self.tasks, self.device)

    @cached_property
    def _pairs(self) -> tuple[Index, Index]:
        row, step = np.nonzero(np.arange(self.steps) < self.length[:, None])
        return row, step

    @cached_property
    def flat(self) -> Tensor:
        """Place in [rows * steps] of every step of every sequence; int64 [pairs]."""
        row, step = self._pairs
        return torch.from_numpy(row * self.steps + step).to(self.device, non_blocking=True)

    @cached_property
    def row(self) -> Tensor:
        """Row of each of these; int64 [pairs]."""
        return torch.from_numpy(self._pairs[0]).to(self.device, non_blocking=True)

    @cached_property
    def pair_task(self) -> Index:
        """Task of each of these, on the host; int64 [pairs]."""
        return self.task[self._pairs[0]]

    @cached_property
    def pair_groups(self) -> Dispatch:
        """The same by task."""
        return Dispatch.of(self.pair_task, self.tasks, self.device)

    @cached_property
    def last(self) -> Tensor:
        """Place in [rows * steps] of the last step of each; int64 [rows]."""
        return torch.from_numpy(np.arange(len(self.length)) * self.steps + self.length - 1).to(self.device)

    @cached_property
    def last_pairs(self) -> Tensor:
        """Place of the last step of each among the pairs; int64 [rows]."""
        return torch.from_numpy(np.cumsum(self.length) - 1).to(self.device)

    @cached_property
    def lengths(self) -> Tensor:
        """`length` as float32 [rows, 1]."""
        return torch.from_numpy(self.length[:, None]).to(self.device, torch.float32)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the steps of each sequence; [pairs, width] -> [rows, width]."""
        total = values.new_zeros(len(self.task), values.shape[1])
        return total.index_add(0, self.row, values) / self.lengths


@dataclass(frozen=True)
class Embedded:
    """What a network makes of whole sequences before any decision.

    Attributes:
        shared: For the part that tasks share; float32 [rows, steps, embedded].
        own: Of the base model; float32 [rows, steps, own].
    """

    shared: Tensor
    own: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a network answers on whole sequences.

    Attributes:
        logits: float32 [rows, classes], or [pairs, classes] where every step is answered.
        gates: The connections that were on; float32 [pairs, connections].
        auxiliary: What the base model adds to the loss; a scalar.
    """

    logits: Tensor
    gates: Tensor
    auxiliary: Tensor


class MultiTaskNetwork(nn.Module):
    """A front, a base model, a part that tasks share, and an output layer for each task.

    The answer is made from what the task took from the shared part and its own representation, side by side.

    Args:
        front: Makes float inputs [rows, steps, width] of x.
        base: The base model, or None.
        sharing: What tasks share, or None.
        tasks: Number of tasks.
        classes: Width of the output layers.
        readout: "every" answers at each time step. "last" answers once, from the last step. "mean" answers once, from
            the mean of what was taken from the shared part over all steps, and the last own representation.

    Raises:
        ValueError: If there is neither base nor sharing, or the readout is unknown.

    Source: MT-RMN, "combining the extracted task-specific knowledge with the task-specific output of the recurrent
    model"; "the output of the new decoder is concatenated with the hidden representation of the new LSTM".

    Deviation: "mean". Sub-encoders and sub-decoders have no state, so with the paper's "last" the connections of all
    time steps but the last have no effect on an answer.

    Example:
        >>> from mtl_gym.families.recurrent.bases import SeparateLSTMs
        >>> from mtl_gym.families.recurrent.modular import ModularNetwork
        >>> base, sharing = SeparateLSTMs(10, 8, tasks=4), ModularNetwork(10, 8, tasks=4)
        >>> MultiTaskNetwork(nn.Identity(), base, sharing, tasks=4, classes=3).representation
        24
    """

    def __init__(
        self,
        front: nn.Module,
        base: Base | None,
        sharing: Sharing | None,
        tasks: int,
        classes: int,
        readout: str = "mean",
    ) -> None:
        super().__init__()
        if base is None and sharing is None:
            raise ValueError("A network needs a base model or a part that tasks share; give one of the two or both.")
        if readout not in READOUTS:
            raise ValueError(f"readout={readout!r} is unknown; use one of {', '.join(READOUTS)}.")
        self.front, self.base, self.sharing = front, base, sharing
        self.tasks, self.classes, self.readout = tasks, classes, readout
        self.own, self.knowledge = base.width if base else 0, sharing.width if sharing else 0
        self.representation = self.own + self.knowledge
        self.head = GroupedLinear(tasks, self.representation, classes)

    @property
    def layout(self) -> Layout:
        """The connections that are decided at every time step."""
        return self.sharing.layout if self.sharing else Layout()

    @property
    def embedded(self) -> int:
        """Width of what is embedded for the shared part."""
        return self.sharing.embedded if self.sharing else 0

    @property
    def memory(self) -> int:
        """Width of what the shared part shows of the step before."""
        return self.sharing.memory if self.sharing else 0

    @property
    def policies_see(self) -> int:
        """Width of the tasks' own representations, where policies see them (eq. 6); else 0 (eq. 7)."""
        return self.own if self.base is not None and self.base.task_specific else 0

    @property
    def parts(self) -> dict[str, int]:
        """Return the widths of the parts of what a router sees."""
        return {"embedded": self.embedded, "memory": self.memory, "own": self.own}

    @property
    def scored(self) -> tuple[int, int]:
        """Return the widths that policy networks see: of a sub-network, and of a task's own representation."""
        return self.sharing.unit if self.sharing else 0, self.policies_see

    @property
    def carries(self) -> bool:
        """Whether the shared part carries a memory from step to step."""
        return self.sharing is not None and self.sharing.carries

    def embed(self, x: Tensor, groups: Dispatch) -> Embedded:
        """Everything that no decision has a part in; x [rows, steps, ...]."""
        values = self.front(x)
        nothing = values.new_zeros(*values.shape[:2], 0)
        shared = self.sharing.embed(values, groups) if self.sharing else nothing
        return Embedded(shared, self.base(values, groups) if self.base else nothing)

    def share(self, shared: Tensor, own: Tensor, memory: Tensor, groups: Dispatch, gates: Gates) -> Shared:
        """One time step of the shared part; as `Sharing.share`."""
        if self.sharing is None:
            nothing = shared.new_zeros(len(shared), 0)
            return Shared(nothing, nothing, nothing)
        return self.sharing.share(shared, own if self.policies_see else None, memory, groups, gates)

    def answer(self, knowledge: Tensor, own: Tensor, groups: Dispatch) -> Tensor:
        """Logits of each row's task; [rows, knowledge] and [rows, own] -> [rows, classes]."""
        return self.head.of_rows(torch.cat([knowledge, own], 1), groups)

    def run(self, x: Tensor, sequences: Sequences, gates: GatesOf) -> Outcome:
        """Whole sequences at once.

        Args:
            x: Inputs [rows, steps, ...].
            sequences: Their tasks and lengths.
            gates: Given places in [rows * steps], int64 [n], the decisions made there.
        """
        embedded = self.embed(x, sequences.groups)
        shared, own = embedded.shared.flatten(0, 1), embedded.own.flatten(0, 1)
        knowledge, on = (self._in_turn if self.carries else self._at_once)(shared, own, sequences, gates)
        last = own[sequences.last]
        auxiliary = self.base.auxiliary(last, sequences.groups) if self.base else x.new_zeros(())
        if self.readout == "every":
            return Outcome(self.answer(knowledge, own[sequences.flat], sequences.pair_groups), on, auxiliary)
        return Outcome(self.answer(self._read(knowledge, sequences), last, sequences.groups), on, auxiliary)

    def _at_once(self, shared: Tensor, own: Tensor, sequences: Sequences, gates: GatesOf) -> tuple[Tensor, Tensor]:
        at = sequences.flat
        memory = shared.new_zeros(len(at), self.memory)
        step = self.share(shared[at], own[at], memory, sequences.pair_groups, gates(at))
        return step.knowledge, step.gates

    def _in_turn(self, shared: Tensor, own: Tensor, sequences: Sequences, gates: GatesOf) -> tuple[Tensor, Tensor]:
        """The same for shared parts that carry a memory from step to step."""
        rows = torch.arange(len(sequences.task), device=shared.device) * sequences.steps
        memory, knowledge, on = shared.new_zeros(len(rows), self.memory), [], []
        by_step = (part.unflatten(0, (len(rows), -1)).unbind(1) for part in (shared, own))
        for number, (now, mine) in enumerate(zip(*by_step, strict=True)):
            step = self.share(now, mine, memory, sequences.groups, gates(rows + number))
            memory = step.memory
            knowledge.append(step.knowledge)
            on.append(step.gates)
        both = (torch.stack(parts, 1).flatten(0, 1)[sequences.flat] for parts in (knowledge, on))
        return next(both), next(both)

    def _read(self, knowledge: Tensor, sequences: Sequences) -> Tensor:
        return knowledge[sequences.last_pairs] if self.readout == "last" else sequences.mean(knowledge)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those that stay fixed when an unseen task arrives: of the part that tasks share (table 2)."""
        shared = self.sharing.shared_parameters() if self.sharing else []
        return [*self.front.parameters(), *shared]
