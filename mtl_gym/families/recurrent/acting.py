"""Current episodes: the sequence, decisions and network values of each row.

No autograd graph is kept here. Values that depend on no decision are computed ahead, for whole batches of sequences;
the graph for training is built at the end of a batch of episodes (`MultiTaskNetwork.run`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.rows import Rows, State, clone
from mtl_gym.core.sampling import Waiting
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.structure import Maybe, Numbers
from mtl_gym.families.recurrent.connections import Given
from mtl_gym.families.recurrent.network import Embedded, MultiTaskNetwork
from mtl_gym.families.recurrent.sequences import SequenceSplit


@dataclass
class Episodes:
    """Current sequence of each row and its decisions.

    Attributes:
        sample: Sample of each row, -1 for none; int64 [rows].
        step: Number of decisions made; int64 [rows].
        actions: Connections of each step, 0 for pending ones; int8 [rows, steps, connections].
        spent: Share of the sequence's steps in which each connection was on; float32 [rows, connections].
    """

    sample: Rows
    step: Rows
    actions: NDArray[np.int8]
    spent: NDArray[np.float32]

    @classmethod
    def none(cls, rows: int, steps: int, connections: int) -> Episodes:
        """Return empty episodes without sequences."""
        actions, spent = np.zeros((rows, steps, connections), np.int8), np.zeros((rows, connections), np.float32)
        return cls(np.full(rows, -1), np.zeros(rows, np.int64), actions, spent)

    def begin(self, rows: Rows, samples: Rows) -> None:
        """Begin the sequences `samples` in `rows`; int64 [n] each."""
        self.sample[rows], self.step[rows], self.actions[rows], self.spent[rows] = samples, 0, 0, 0


@dataclass
class Values:
    """Network values of all rows.

    Attributes:
        memory: Last memory of the shared part; float32 [rows, memory].
        total: Sum of the knowledge taken from a shared part that carries a memory, else zeros; float32 [rows,
            knowledge].
        shared: Embedded inputs of the shared part; float32 [rows, steps, embedded].
        own: Task-specific representations; float32 [rows, steps, own].
    """

    memory: Tensor
    total: Tensor
    shared: Tensor
    own: Tensor


class Acting:
    """Episodes of `rows` rows, run step by step.

    Args:
        network: Network that is run.
        split: Split of the sequences.
        rows: Number of parallel episodes.
        connections: Number of connections in an action; at least 1.

    Attributes:
        episodes: Sequences and decisions of all rows.
        values: Network values of all rows.
        waiting: Embedded sequences that are not yet assigned to a row.
    """

    def __init__(self, network: MultiTaskNetwork, split: SequenceSplit, rows: int, connections: int) -> None:
        self.network, self.split = network, split
        self.episodes = Episodes.none(rows, split.steps, connections)
        self.device = next(network.parameters()).device
        self.values = Values(
            torch.zeros(rows, network.memory, device=self.device),
            torch.zeros(rows, network.knowledge, device=self.device),
            torch.zeros(rows, split.steps, network.embedded, device=self.device),
            torch.zeros(rows, split.steps, network.own, device=self.device),
        )
        self._rows = torch.arange(rows, device=self.device)
        self.waiting = Waiting()
        self._ahead: Embedded | None = None
        self._groups: Dispatch | None = None
        self._now: tuple[Tensor, Tensor] | None = None
        self._taken: tuple[Tensor, Tensor] | None = None
        self._reads_later = network.readout != "every" and not network.carries

    @property
    def task(self) -> Rows:
        """Task of each row; int64 [rows]."""
        return self.split.task[self.episodes.sample]

    @property
    def length(self) -> Rows:
        """Number of steps of each row's sequence; int64 [rows]."""
        return self.split.length[self.episodes.sample]

    @property
    def groups(self) -> Dispatch:
        """Dispatch of all rows by task."""
        if self._groups is None:
            self._groups = Dispatch.of(self.task, self.network.tasks, self.device)
        return self._groups

    def groups_of(self, rows: Rows) -> Dispatch:
        """Return the dispatch of `rows`, int64 [n], by task."""
        if len(rows) == len(self.episodes.sample):
            return self.groups
        return Dispatch.of(self.task[rows], self.network.tasks, self.device)

    def supply(self, samples: Rows) -> None:
        """Append samples to the waiting sequences; int64 [n]."""
        self.waiting.add(samples)
        self.embed_waiting()

    def embed_waiting(self) -> None:
        """Embed the waiting sequences with the current weights."""
        self.waiting = Waiting(self.waiting.left)
        self._ahead = self._embed(self.waiting.samples) if len(self.waiting.samples) else None

    def drop_waiting(self) -> None:
        """Discard the waiting sequences."""
        self.waiting, self._ahead = Waiting(), None

    @torch.no_grad()
    def _embed(self, samples: Rows) -> Embedded:
        return self.network.embed(self.split.inputs(samples), self.split.sequences(samples).groups)

    def begin(self, rows: Rows) -> None:
        """Assign the oldest waiting sequences to `rows`; int64 [n]."""
        assert self._ahead is not None
        part = slice(self.waiting.used, self.waiting.used + len(rows))
        self.episodes.begin(rows, self.waiting.samples[self.waiting.take(len(rows))])
        index, steps = torch.from_numpy(rows).to(self.device), self._ahead.own.shape[1]
        self.values.shared[index, :steps], self.values.own[index, :steps] = (
            self._ahead.shared[part],
            self._ahead.own[part],
        )
        self.values.memory[index] = 0
        self.values.total[index] = 0
        self._groups = self._now = None

    @property
    def now(self) -> tuple[Tensor, Tensor]:
        """Embedded inputs of the shared part and own representations at the next step; float32 [rows, ...]."""
        if self._now is None:
            step = torch.from_numpy(np.minimum(self.episodes.step, self.length - 1))
            self._now = self._at(self._rows, step.to(self.device, non_blocking=True))
        return self._now

    def _at(self, row: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        return self.values.shared[row, step], self.values.own[row, step]

    @property
    def units(self) -> Tensor:
        """New tensor of the inputs of a router; float32 [rows, embedded + memory + own]."""
        shared, own = self.now
        return torch.cat([shared, self.values.memory, own], 1)

    @torch.no_grad()
    def advance(self, actions: NDArray[np.int8]) -> None:
        """Apply one decision in every row; int8 [rows, connections]."""
        self._run(actions)
        self.episodes.actions[np.arange(len(actions)), self.episodes.step] = actions
        self.episodes.spent = self.episodes.spent + (actions / self.length[:, None]).astype(np.float32)
        self.episodes.step += 1
        self._now = None

    def _run(self, actions: NDArray[np.int8]) -> None:
        """Run the shared part; what a decision takes from it is left to `read` where nothing else needs it."""
        gates, values, now = self._given(actions), self.values, self.now
        if self._reads_later:
            values.memory = self.network.show(*now, values.memory, self.groups, gates)
            return
        step = self.network.share(*now, values.memory, self.groups, gates)
        values.memory, self._taken = step.memory, (step.knowledge, now[1])
        if self.network.carries:
            values.total = values.total + step.knowledge

    def _given(self, actions: NDArray[np.int8]) -> Given:
        on = torch.from_numpy(actions).to(self.device, self.values.shared.dtype)
        return Given(self.network.layout, on)

    @torch.no_grad()
    def read(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the inputs of `MultiTaskNetwork.answer` after the last decision; float32 [n, ...] each.

        Args:
            rows: Rows that answer: at the end of sequences, or all with an answer at every step; int64 [n].
        """
        if self._reads_later:
            return self._read_sequences(rows)
        knowledge, own = self._taken
        if self.network.readout == "every":
            return knowledge, own
        index = torch.from_numpy(rows).to(self.device)
        if self.network.readout == "last":
            return knowledge[index], own[index]
        return self.values.total[index] / torch.from_numpy(self.length[rows, None]).to(self.device), own[index]

    def _read_sequences(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Run all steps of the sequences of `rows` at once."""
        index, sequences = torch.from_numpy(rows).to(self.device), self.split.sequences(self.episodes.sample[rows])
        shared, own = (part[index, : sequences.steps] for part in (self.values.shared, self.values.own))
        given = self._given(self.episodes.actions[rows, : sequences.steps].reshape(-1, self.episodes.actions.shape[2]))
        gates = lambda at: Given(given.layout, given.action[at])  # noqa: E731
        knowledge, last, _ = self.network.read(Embedded(shared, own), sequences, gates)
        return knowledge, last

    def refresh(self, episodes: bool = True) -> None:
        """Recompute the values of waiting sequences and, if `episodes`, of all rows with the current weights."""
        self.embed_waiting()
        if not episodes:
            return
        embedded = self._embed(self.episodes.sample)
        steps = embedded.own.shape[1]
        self.values.shared[:, :steps], self.values.own[:, :steps] = embedded.shared, embedded.own
        self._groups = self._now = None
        self.values.memory, self.values.total = map(torch.zeros_like, (self.values.memory, self.values.total))
        if self.network.carries:
            self._retrace_in_turn()
        elif self.episodes.step.any():
            self._retrace()

    @torch.no_grad()
    def _retrace(self) -> None:
        """Repeat the last decision of unfinished episodes; no other one has left a trace."""
        rows = np.flatnonzero(self.episodes.step)
        row, step = torch.from_numpy(np.stack([rows, self.episodes.step[rows] - 1])).to(self.device)
        gates, before = self._given(self.episodes.actions[rows, self.episodes.step[rows] - 1]), self.values.memory[row]
        self.values.memory[row] = self.network.show(*self._at(row, step), before, self.groups_of(rows), gates)

    def _retrace_in_turn(self) -> None:
        """Repeat the decisions of unfinished episodes, step by step, for shared parts that carry a memory."""
        target, actions, spent = self.episodes.step.copy(), self.episodes.actions.copy(), self.episodes.spent
        self.episodes.step[:], self._now = 0, None
        for step in range(int(target.max(initial=0))):
            memory, total, going = self.values.memory, self.values.total, torch.from_numpy(step < target)[:, None]
            self.advance(actions[:, step])
            going = going.to(memory.device)
            self.values.memory, self.values.total = (
                torch.where(going, self.values.memory, memory),
                torch.where(going, self.values.total, total),
            )
            self.episodes.step, self._now = np.minimum(self.episodes.step, target), None
        self.episodes.actions, self.episodes.spent = actions, spent

    def state(self) -> State:
        """Return episodes, values and waiting sequences as tensors.

        Values are stored because recomputing them in other batch sizes could round differently.
        """
        ahead = None if self._ahead is None else clone(vars(self._ahead))
        rows = {"episodes": tensors_of(self.episodes), "values": clone(vars(self.values))}
        return {**rows, "waiting": tensors_of(self.waiting), "ahead": ahead}

    def model(self) -> State:
        """Return the model of `state`."""
        state, size = self.state(), len(self.split.length)
        episodes = state["episodes"] | {
            "sample": Numbers(state["episodes"]["sample"], 0, size - 1),
            "step": Numbers(state["episodes"]["step"], 0, self.split.steps),
            "actions": Numbers(state["episodes"]["actions"], 0, 1),
        }
        ahead = {name: Numbers(state["values"][name], free=2) for name in ("shared", "own")}
        return state | {"episodes": episodes, "waiting": self.waiting.model(size), "ahead": Maybe(ahead)}

    def load(self, state: State) -> None:
        """Restore `state`.

        Raises:
            CheckpointError: If other sequences are embedded than wait.
        """
        embedded = 0 if state["ahead"] is None else len(state["ahead"]["own"])
        if embedded != len(state["waiting"]["samples"]) or int(state["waiting"]["used"]) > embedded:
            raise CheckpointError("other sequences are embedded than wait")
        self.episodes, self.waiting = arrays_of(Episodes, state["episodes"]), arrays_of(Waiting, state["waiting"])
        self.values = Values(**{name: value.to(self.device, copy=True) for name, value in state["values"].items()})
        ahead, self._groups, self._now = state["ahead"], None, None
        self._ahead = (
            None if ahead is None else Embedded(**{name: part.to(self.device) for name, part in ahead.items()})
        )
