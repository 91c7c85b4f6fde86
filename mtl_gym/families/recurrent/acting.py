"""Current episodes: the sequence, decisions and network values of each row.

No autograd graph is kept here. Values that depend on no decision are computed for whole batches of sequences; the graph
for training is built at the end of a batch of episodes (`MultiTaskNetwork.run`). Values that nothing but an observation
or a state shows are computed when one is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
from mtl_gym.families.recurrent.network import Embedded, MultiTaskNetwork, given_gates
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
        waiting: Sequences that are not yet assigned to a row.
        answers_later: True if only an answer at the end needs what steps take from the shared part.
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
        self._rows = np.arange(rows)
        self.waiting = Waiting()
        self._ahead: Embedded | None = None
        # Rows whose sequences are not yet among the values, with their places among the waiting ones.
        self._unfilled: list[tuple[Tensor, slice]] = []
        self._memory_lags = False
        self._groups: Dispatch | None = None
        self._now: tuple[Tensor, Tensor] | None = None
        self._taken: tuple[Tensor, Tensor] | None = None
        self.answers_later = network.readout != "every" and not network.carries

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

    def supply(self, samples: Rows, rows: Rows) -> None:
        """Append samples, int64 [n], to the waiting sequences; `rows`, int64 [m], begin next."""
        self._keep_others(rows)
        self.waiting.add(samples)
        self._ahead = None

    def _keep_others(self, rows: Rows) -> None:
        """Bring the values up to date unless all rows begin next."""
        if len(rows) < len(self._rows):
            self._catch_up()
        self._unfilled, self._memory_lags = [], False

    def drop_waiting(self) -> None:
        """Discard the waiting sequences."""
        self.waiting, self._ahead, self._unfilled = Waiting(), None, []

    @torch.no_grad()
    def _embed(self, samples: Rows) -> Embedded:
        return self.network.embed(self.split.inputs(samples), self.split.sequences(samples).groups)

    def begin(self, rows: Rows) -> None:
        """Assign the oldest waiting sequences to `rows`; int64 [n]."""
        self._keep_others(rows)
        part = slice(self.waiting.used, self.waiting.used + len(rows))
        self.episodes.begin(rows, self.waiting.samples[self.waiting.take(len(rows))])
        index = torch.from_numpy(rows).to(self.device, non_blocking=True)
        self._unfilled.append((index, part))
        self.values.memory[index] = 0
        self.values.total[index] = 0
        self._groups = self._now = None

    def _fill(self) -> None:
        """Embed the waiting sequences, and enter those of rows that have begun among the values."""
        if self._ahead is None and len(self.waiting.samples):
            self._ahead = self._embed(self.waiting.samples)
        for index, part in self._unfilled:
            assert self._ahead is not None
            steps = self._ahead.own.shape[1]
            self.values.shared[index, :steps] = self._ahead.shared[part]
            self.values.own[index, :steps] = self._ahead.own[part]
        self._unfilled = []

    def _catch_up(self) -> None:
        """Compute what observations and states show."""
        self._fill()
        if self._memory_lags:
            self._memory_lags = False
            self._retrace()

    @property
    def now(self) -> tuple[Tensor, Tensor]:
        """Embedded inputs of the shared part and own representations at the next step; float32 [rows, ...]."""
        if self._now is None:
            self._fill()
            self._now = self._at(self._rows, np.minimum(self.episodes.step, self.length - 1))
        return self._now

    def _at(self, rows: Rows, step: Rows) -> tuple[Tensor, Tensor]:
        place = torch.from_numpy(rows * self.split.steps + step).to(self.device, non_blocking=True)
        shared, own = (part.flatten(0, 1).index_select(0, place) for part in (self.values.shared, self.values.own))
        return shared, own

    @property
    def units(self) -> Tensor:
        """New tensor of the inputs of a router; float32 [rows, embedded + memory + own]."""
        self._catch_up()
        shared, own = self.now
        return torch.cat([shared, self.values.memory, own], 1)

    @torch.no_grad()
    def advance(self, actions: NDArray[np.int8]) -> None:
        """Apply one decision in every row; int8 [rows, connections]."""
        if self.answers_later and self._now is None:  # nobody looks
            self._memory_lags = True
        else:
            self._run(actions)
        self.episodes.actions[self._rows, self.episodes.step] = actions
        self.episodes.spent = self.episodes.spent + self._share(actions)
        self.episodes.step += 1
        self._now = None

    def _share(self, actions: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the share of its sequence in which each connection is on; [..., rows, connections]."""
        one: NDArray[np.float32] = (1 / self.length).astype(np.float32)
        return actions * one[:, None]

    def play(self, plans: NDArray[np.int8]) -> NDArray[np.float32]:
        """Apply all decisions of sequences without padding.

        Args:
            plans: int8 [rows, steps, connections].

        Returns:
            `Episodes.spent` after each step; float32 [steps, rows, connections].
        """
        spent = self._share(np.ascontiguousarray(plans.swapaxes(0, 1)))
        for before, after in pairwise(spent):  # an order of magnitude faster than numpy's sum along the first axis
            after += before
        self.episodes.actions[:], self.episodes.spent, self.episodes.step = plans, spent[-1].copy(), self.length
        self._memory_lags, self._now = self.answers_later, None
        return spent

    def _run(self, actions: NDArray[np.int8]) -> None:
        now, gates = self.now, self._given(actions)
        if self.answers_later:
            self.values.memory = self.network.show(*now, self.values.memory, self.groups, gates)
            return
        step = self.network.share(*now, self.values.memory, self.groups, gates)
        self.values.memory, self._taken = step.memory, (step.knowledge, now[1])
        if self.network.carries:
            self.values.total = self.values.total + step.knowledge

    def _given(self, actions: NDArray[np.int8]) -> Given:
        on = torch.from_numpy(actions).to(self.device, self.values.shared.dtype, non_blocking=True)
        return Given(self.network.layout, on)

    @torch.no_grad()
    def answer(self, rows: Rows) -> Tensor:
        """Return the logits of the answers after the last decision; float32 [n, classes].

        Args:
            rows: Rows that answer: at the end of sequences, or all with an answer at every step; int64 [n].
        """
        if self.answers_later:
            return self.answer_sequences(rows)
        assert self._taken is not None
        knowledge, own = self._taken
        if self.network.readout != "every":
            index = torch.from_numpy(rows).to(self.device)
            knowledge, own = knowledge[index], own[index]
        if self.network.readout == "mean":
            knowledge = self.values.total[index] / torch.from_numpy(self.length[rows, None]).to(self.device)
        return self.network.answer(knowledge, own, self.groups_of(rows))

    @torch.no_grad()
    def answer_sequences(self, rows: Rows) -> Tensor:
        """Run all steps of the sequences of `rows`, int64 [n], at once; return logits as in `Outcome`."""
        self._fill()
        index, sequences = torch.from_numpy(rows).to(self.device), self.split.sequences(self.episodes.sample[rows])
        embedded = (part[index, : sequences.steps] for part in (self.values.shared, self.values.own))
        given = self._given(self.episodes.actions[rows, : sequences.steps])
        return self.network.answers(Embedded(*embedded), sequences, given_gates(given.layout, given.action))[0]

    def refresh(self, episodes: bool = True) -> None:
        """Recompute the values of waiting sequences and, if `episodes`, of all rows with the current weights."""
        self.waiting, self._ahead, self._unfilled = Waiting(self.waiting.left), None, []
        if not episodes:
            return
        embedded = self._embed(self.episodes.sample)
        steps = embedded.own.shape[1]
        self.values.shared[:, :steps], self.values.own[:, :steps] = embedded.shared, embedded.own
        self._groups = self._now = None
        self._memory_lags = False
        self.values.memory, self.values.total = map(torch.zeros_like, (self.values.memory, self.values.total))
        if self.network.carries:
            self._retrace_in_turn()
        elif self.episodes.step.any():
            self._retrace()

    @torch.no_grad()
    def _retrace(self) -> None:
        """Repeat the last decision of unfinished episodes; no other one has left a trace."""
        rows = np.flatnonzero(self.episodes.step)
        index, step = torch.from_numpy(rows).to(self.device), self.episodes.step[rows] - 1
        gates, before = self._given(self.episodes.actions[rows, step]), self.values.memory[index]
        shown = self.network.show(*self._at(rows, step), before, self.groups_of(rows), gates)
        self.values.memory.index_copy_(0, index, shown)

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
        self._catch_up()
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
        self._unfilled, self._memory_lags = [], False
        self._ahead = (
            None if ahead is None else Embedded(**{name: part.to(self.device) for name, part in ahead.items()})
        )
