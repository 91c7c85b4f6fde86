"""Episodes under way: what is known of each row's sequence, and what its connections made of it so far.

Nothing here keeps a graph. What depends on no decision is worked out for whole batches of sequences ahead of time; the
graph that trains is built when a batch of episodes has ended (`MultiTaskNetwork.run`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.rows import Rows, clone
from mtl_gym.families.recurrent.connections import Given
from mtl_gym.families.recurrent.network import Embedded, MultiTaskNetwork
from mtl_gym.families.recurrent.sequences import SequenceSplit

ARRAYS = ("sample", "step", "actions", "spent", "waiting")
VALUES = ("memory", "total", "_shared", "_own")


class Acting:
    """The episodes of `rows` rows.

    Args:
        network: The network.
        split: Where sequences come from.
        rows: Episodes side by side.
        connections: Of an action; at least 1.

    Attributes:
        sample: The sequence of each row, -1 for none; int64 [rows].
        step: Decisions made; int64 [rows].
        actions: The connections so far; int8 [rows, steps, connections].
        spent: How often each connection was on, as a share of the sequence's steps; float32 [rows, connections].
        memory: What the shared part showed last; float32 [rows, memory].
        total: Sum of what was taken from the shared part; float32 [rows, knowledge].
    """

    def __init__(self, network: MultiTaskNetwork, split: SequenceSplit, rows: int, connections: int) -> None:
        self.network, self.split = network, split
        self.sample, self.step = np.full(rows, -1), np.zeros(rows, np.int64)
        self.actions = np.zeros((rows, split.steps, connections), np.int8)
        self.spent = np.zeros((rows, connections), np.float32)
        device = next(network.parameters()).device
        self.memory = torch.zeros(rows, network.memory, device=device)
        self.total = torch.zeros(rows, network.knowledge, device=device)
        self._shared = torch.zeros(rows, split.steps, network.embedded, device=device)
        self._own = torch.zeros(rows, split.steps, network.own, device=device)
        self._rows = torch.arange(rows, device=device)
        self.waiting = np.empty(0, np.int64)
        self._ahead: Embedded | None = None
        self._used = 0
        self._groups: Dispatch | None = None

    @property
    def task(self) -> Rows:
        """Task of each row; int64 [rows]."""
        return self.split.task[self.sample]

    @property
    def length(self) -> Rows:
        """Steps of each row's sequence; int64 [rows]."""
        return self.split.length[self.sample]

    @property
    def groups(self) -> Dispatch:
        """Rows by task."""
        if self._groups is None:
            self._groups = Dispatch.of(self.task, self.network.tasks, self._rows.device)
        return self._groups

    def lacks(self, count: int) -> bool:
        """Whether fewer than `count` sequences wait."""
        return len(self.waiting) - self._used < count

    def supply(self, samples: Rows) -> None:
        """Let these sequences wait behind those that do; int64 [n]."""
        self.waiting, self._used = np.concatenate([self.waiting[self._used :], samples]), 0
        self.embed_waiting()

    def embed_waiting(self) -> None:
        """Bring sequences that wait up to the weights there are now."""
        self.waiting, self._used = self.waiting[self._used :], 0
        self._ahead = self._embed(self.waiting) if len(self.waiting) else None

    @torch.no_grad()
    def _embed(self, samples: Rows) -> Embedded:
        return self.network.embed(self.split.inputs(samples), self.split.sequences(samples).groups)

    def begin(self, rows: Rows) -> None:
        """Hand the sequences that have waited longest to `rows`; int64 [n]."""
        assert self._ahead is not None
        part = slice(self._used, self._used + len(rows))
        index = torch.from_numpy(rows).to(self._rows.device)
        self.sample[rows], self.step[rows], self.actions[rows] = self.waiting[part], 0, 0
        self.spent[rows] = 0
        steps = self._ahead.own.shape[1]
        self._shared[index, :steps], self._own[index, :steps] = self._ahead.shared[part], self._ahead.own[part]
        self.memory[index] = 0
        self.total[index] = 0
        self._used += len(rows)
        self._groups = None

    def _at(self, step: Rows) -> Tensor:
        return torch.from_numpy(step).to(self._rows.device, non_blocking=True)

    @property
    def now(self) -> tuple[Tensor, Tensor]:
        """What is embedded for the coming step: for the shared part, and the rows' own; float32 [rows, ...]."""
        at = self._at(np.minimum(self.step, self.length - 1))
        return self._shared[self._rows, at], self._own[self._rows, at]

    @property
    def units(self) -> Tensor:
        """What a router sees; float32 [rows, embedded + memory + own], a fresh one."""
        shared, own = self.now
        return torch.cat([shared, self.memory, own], 1)

    @torch.no_grad()
    def advance(self, actions: NDArray[np.int8]) -> tuple[Tensor, Tensor]:
        """Carry out one decision in every row.

        Returns:
            What each took from the shared part, [rows, knowledge], and its own representation, [rows, own].
        """
        shared, own = self.now
        given = torch.from_numpy(actions).to(self._rows.device).to(shared.dtype)
        gates = Given(self.network.layout, given)
        step = self.network.share(shared, own, self.memory, self.groups, gates)
        self.actions[np.arange(len(actions)), self.step] = actions
        self.spent = self.spent + (actions / self.length[:, None]).astype(np.float32)
        self.memory, self.total = step.memory, self.total + step.knowledge
        self.step += 1
        return step.knowledge, own

    def refresh(self) -> None:
        """Bring everything up to the weights there are now, episodes under way included."""
        self.embed_waiting()
        embedded = self._embed(self.sample)
        steps = embedded.own.shape[1]
        self._shared[:, :steps], self._own[:, :steps] = embedded.shared, embedded.own
        self.memory, self.total, self._groups = torch.zeros_like(self.memory), torch.zeros_like(self.total), None
        if self.network.carries:
            self._retrace_in_turn()
        elif self.step.any():
            self._retrace()

    @torch.no_grad()
    def _retrace(self) -> None:
        """Carry out again all decisions of episodes under way, all steps at once."""
        row, step = np.nonzero(np.arange(self.actions.shape[1]) < self.step[:, None])
        groups = Dispatch.of(self.task[row], self.network.tasks, self._rows.device)
        on_device = torch.from_numpy(np.stack([row, step])).to(self._rows.device)
        shared, own = self._shared[on_device[0], on_device[1]], self._own[on_device[0], on_device[1]]
        given = torch.from_numpy(self.actions[row, step]).to(self._rows.device).to(shared.dtype)
        taken = self.network.share(shared, own, self.memory[on_device[0]], groups, Given(self.network.layout, given))
        self.total.index_add_(0, on_device[0], taken.knowledge)
        last = torch.from_numpy(np.flatnonzero(step == self.step[row] - 1)).to(self._rows.device)
        self.memory[on_device[0][last]] = taken.memory[last]

    def _retrace_in_turn(self) -> None:
        """The same for shared parts that carry a memory from step to step."""
        target, actions, spent = self.step.copy(), self.actions.copy(), self.spent
        self.step[:] = 0
        for step in range(int(target.max(initial=0))):
            memory, total, going = self.memory, self.total, torch.from_numpy(step < target)[:, None]
            self.advance(actions[:, step])
            going = going.to(memory.device)
            self.memory, self.total = torch.where(going, self.memory, memory), torch.where(going, self.total, total)
            self.step = np.minimum(self.step, target)
        self.actions, self.spent = actions, spent

    def state(self) -> dict[str, Any]:
        """Everything the episodes depend on: tensors. Other batch sizes round otherwise, so values are kept as well."""
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}
        values = {name: getattr(self, name).clone() for name in VALUES}
        ahead = None if self._ahead is None else {"shared": self._ahead.shared, "own": self._ahead.own}
        return {"arrays": arrays, "values": values, "ahead": clone(ahead), "used": self._used}

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        for name in ARRAYS:
            setattr(self, name, state["arrays"][name].numpy().copy())
        device = self._rows.device
        for name in VALUES:
            setattr(self, name, state["values"][name].to(device, copy=True))
        ahead, self._used, self._groups = state["ahead"], int(state["used"]), None
        self._ahead = None if ahead is None else Embedded(*(ahead[name].to(device) for name in ("shared", "own")))
