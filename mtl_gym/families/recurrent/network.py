"""Multi-task recurrent network: a base model, a shared part, and an output layer per task.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear
from mtl_gym.core.validation import complaint
from mtl_gym.families.recurrent.bases import Base
from mtl_gym.families.recurrent.connections import ConnectionLayout, Gates, Given
from mtl_gym.families.recurrent.modular import SharedOutput, Sharing
from mtl_gym.families.recurrent.sequences import Sequences

GatesOf: TypeAlias = Callable[[Tensor], Gates]

READOUTS = ("mean", "last", "every")


@dataclass(frozen=True)
class Embedded:
    """Values of whole sequences that depend on no decision.

    Attributes:
        shared: Embedded inputs of the shared part, then the cues; float32 [rows, steps, embedded].
        own: Representations of the base model; float32 [rows, steps, own].
    """

    shared: Tensor
    own: Tensor


@dataclass(frozen=True)
class Outcome:
    """Outputs of a network for whole sequences.

    Attributes:
        logits: float32 [rows, classes], or [pairs, classes] with answers at every step.
        gates: Connections, 1 for on; float32 [pairs, connections].
        auxiliary: Additional loss of the base model; a scalar.
    """

    logits: Tensor
    gates: Tensor
    auxiliary: Tensor


def given_gates(layout: ConnectionLayout, actions: Tensor) -> GatesOf:
    """Return gates that are given by actions; float32 [rows, steps, connections]."""
    flat = actions.flatten(0, 1)
    return lambda at: Given(layout, flat[at])


class MultiTaskNetwork(nn.Module):
    """Network of a front, a base model, a shared part, and an output layer per task.

    The input of an output layer is the knowledge taken from the shared part, concatenated with the representation of
    the base model.

    Args:
        front: Module that maps inputs to float32 [rows, steps, width].
        base: Base model, or None.
        sharing: Shared part, or None.
        tasks: Number of tasks.
        classes: Width of the output layers.
        readout: "every" for an answer at each time step, "last" for one answer from the last step, or "mean" for one
            answer from the mean knowledge over all steps and the last representation of the base model.
        cues: Number of features, the last ones of the output of `front`, that routers see and that base model and
            shared part do not.

    Raises:
        ValueError: If `base` and `sharing` are both None, or `readout` is unknown.

    Source: MT-RMN, "combining the extracted task-specific knowledge with the task-specific output of the recurrent
    model"; "the output of the new decoder is concatenated with the hidden representation of the new LSTM".

    Deviation: the default "mean". Sub-encoders and sub-decoders have no state, so with the paper's "last" only the
    connections of the last time step affect an answer.

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
        cues: int = 0,
    ) -> None:
        super().__init__()
        for wrong in (
            complaint("front", front, nn.Module),
            complaint("base", base, Base | None),
            complaint("sharing", sharing, Sharing | None),
        ):
            if wrong is not None:
                raise ValueError(wrong)
        if base is None and sharing is None:
            raise ValueError("base=None and sharing=None leave no network; pass a base model, a shared part, or both.")
        if readout not in READOUTS:
            raise ValueError(f"readout={readout!r} is unknown; use one of {', '.join(READOUTS)}.")
        self.front, self.base, self.sharing = front, base, sharing
        self.tasks, self.classes, self.readout, self.cues = tasks, classes, readout, cues
        self.own, self.knowledge = base.width if base else 0, sharing.width if sharing else 0
        self.representation = self.own + self.knowledge
        self.head = GroupedLinear(tasks, self.representation, classes)

    @property
    def layout(self) -> ConnectionLayout:
        """Connections decided at every time step."""
        return self.sharing.layout if self.sharing else ConnectionLayout()

    @property
    def embedded(self) -> int:
        """Width of the embedded inputs of the shared part, and of the cues behind them."""
        return (self.sharing.embedded if self.sharing else 0) + self.cues

    @property
    def memory(self) -> int:
        """Width of the memory of the shared part."""
        return self.sharing.memory if self.sharing else 0

    @property
    def policies_see(self) -> int:
        """Width of the task-specific representations that policies use (eq. 6), and of the cues behind them.

        It is 0 without any (eq. 7).
        """
        return (self.own if self.base is not None and self.base.task_specific else 0) + self.cues

    @property
    def parts(self) -> dict[str, int]:
        """Widths of the parts of a router's input."""
        return {"embedded": self.embedded, "memory": self.memory, "own": self.own}

    @property
    def scored(self) -> tuple[int, int]:
        """Input widths of policy networks: of a sub-network's output, and of a task-specific representation."""
        return self.sharing.unit if self.sharing else 0, self.policies_see

    @property
    def carries(self) -> bool:
        """True if the shared part carries a memory from step to step."""
        return self.sharing is not None and self.sharing.carries

    def embed(self, x: Tensor, groups: Dispatch) -> Embedded:
        """Return all values of inputs [rows, steps, ...] that depend on no decision."""
        values = self.front(x)
        values, cues = values.split([values.shape[2] - self.cues, self.cues], 2)
        nothing = values.new_zeros(*values.shape[:2], 0)
        shared = self.sharing.embed(values, groups) if self.sharing else nothing
        own = self.base(values, groups) if self.base else nothing
        return Embedded(torch.cat([shared, cues], 2) if self.cues else shared, own)

    def share(self, shared: Tensor, own: Tensor, memory: Tensor, groups: Dispatch, gates: Gates) -> SharedOutput:
        """Run one time step of the shared part, as `Sharing.share`."""
        if self.sharing is None:
            nothing = shared.new_zeros(len(shared), 0)
            return SharedOutput(nothing, nothing, nothing)
        return self.sharing.share(*self._seen(shared, own), memory, groups, gates)

    def show(self, shared: Tensor, own: Tensor, memory: Tensor, groups: Dispatch, gates: Gates) -> Tensor:
        """Return the memory of the shared part after one time step, as `Sharing.show`."""
        return memory if self.sharing is None else self.sharing.show(*self._seen(shared, own), memory, groups, gates)

    def choose(self, shared: Tensor, own: Tensor, memory: Tensor, groups: Dispatch, gates: Gates) -> Tensor:
        """Return the decisions of one time step of the shared part, as `Sharing.choose`."""
        assert self.sharing is not None
        return self.sharing.choose(*self._seen(shared, own), memory, groups, gates)

    def _seen(self, shared: Tensor, own: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the inputs of the shared part and of policies beside it."""
        width, cues = self.policies_see, self.cues
        if not cues:
            return shared, own[:, :width] if width else None
        shared, seen = shared.split([shared.shape[1] - cues, cues], 1)
        return shared, torch.cat([own[:, : width - cues], seen], 1)

    def answer(self, knowledge: Tensor, own: Tensor, groups: Dispatch) -> Tensor:
        """Return the logits of each row's task; [rows, knowledge] and [rows, own] -> [rows, classes]."""
        return self.head.of_rows(torch.cat([knowledge, own], 1), groups)

    def run(self, x: Tensor, sequences: Sequences, gates: GatesOf) -> Outcome:
        """Run whole sequences.

        Args:
            x: Inputs [rows, steps, ...].
            sequences: Tasks and lengths of the sequences.
            gates: Function from indices in [rows * steps], int64 [n], to the decisions of these steps.
        """
        embedded = self.embed(x, sequences.groups)
        logits, on = self.answers(embedded, sequences, gates)
        last = sequences.last(embedded.own)
        auxiliary = self.base.auxiliary(last, sequences.groups) if self.base else x.new_zeros(())
        return Outcome(logits, on, auxiliary)

    def answers(self, embedded: Embedded, sequences: Sequences, gates: GatesOf) -> tuple[Tensor, Tensor]:
        """Return logits and connections of whole sequences, as in `Outcome`.

        Args:
            embedded: Result of `embed`.
            sequences: As for `run`.
            gates: As for `run`.
        """
        knowledge, on = (self._in_turn if self.carries else self._at_once)(embedded, sequences, gates)
        if self.readout == "every":
            return self.answer(knowledge, sequences.pairs(embedded.own), sequences.pair_groups), on
        read = knowledge[sequences.last_pairs] if self.readout == "last" else sequences.mean(knowledge)
        return self.answer(read, sequences.last(embedded.own), sequences.groups), on

    def _at_once(self, embedded: Embedded, sequences: Sequences, gates: GatesOf) -> tuple[Tensor, Tensor]:
        shared, own = sequences.pairs(embedded.shared), sequences.pairs(embedded.own)
        memory = shared.new_zeros(len(shared), self.memory)
        step = self.share(shared, own, memory, sequences.pair_groups, gates(sequences.flat))
        return step.knowledge, step.gates

    def _in_turn(self, embedded: Embedded, sequences: Sequences, gates: GatesOf) -> tuple[Tensor, Tensor]:
        """Run shared parts that carry a memory, step by step."""
        shared, own = embedded.shared, embedded.own
        rows = torch.arange(len(shared), device=shared.device) * sequences.steps
        memory, knowledge, on = shared.new_zeros(len(rows), self.memory), [], []
        for number, (now, mine) in enumerate(zip(shared.unbind(1), own.unbind(1), strict=True)):
            step = self.share(now, mine, memory, sequences.groups, gates(rows + number))
            memory = step.memory
            knowledge.append(step.knowledge)
            on.append(step.gates)
        return sequences.pairs(torch.stack(knowledge, 1)), sequences.pairs(torch.stack(on, 1))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of front and shared part, which are frozen for an unseen task (table 2)."""
        shared = self.sharing.shared_parameters() if self.sharing else []
        return [*self.front.parameters(), *shared]
