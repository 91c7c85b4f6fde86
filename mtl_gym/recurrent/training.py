"""Gradient steps on whole episodes, with the connections that were chosen in them.

Source: MT-RMN, section 3.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mtl_gym.answers import Classes
from mtl_gym.batches import Rows
from mtl_gym.recurrent.connections import Given
from mtl_gym.recurrent.network import GatesOf, MultiTaskNetwork
from mtl_gym.recurrent.sequences import SequenceSplit


class Router(Protocol):
    """A router that is trained by the gradient of the environment's own loss, through its decisions."""

    def ended(self, rows: Rows) -> None:
        """Episodes have ended in these rows, int64 [n], and will train in that order."""
        ...

    def gates(self, actions: Tensor) -> GatesOf:
        """The decisions of all episodes that have ended since the last update, with their gradient.

        Args:
            actions: What was decided; float32 [episodes, steps, connections].
        """
        ...

    def descend(self) -> None:
        """The gradient of the loss is there: take a step."""
        ...


class Training:
    """Episodes that have ended and wait for their gradient step.

    Args:
        network: What is trained.
        split: Where sequences come from.
        classes: Which labels each task has.
        penalties: What connections cost a router that learns by gradient, from their means over time, [n, C] -> [n].
    """

    def __init__(
        self,
        network: MultiTaskNetwork,
        split: SequenceSplit,
        classes: Classes,
        penalties: Callable[[Tensor], Tensor],
    ) -> None:
        self.network, self.split, self._classes, self._penalties = network, split, classes, penalties
        self.ended: list[tuple[Rows, NDArray[np.int8]]] = []

    def add(self, samples: Rows, actions: NDArray[np.int8]) -> None:
        """Let episodes wait: their sequences, int64 [n], and connections, int8 [n, steps, C]."""
        self.ended.append((samples, actions))

    def __len__(self) -> int:
        """How many episodes wait."""
        return sum(len(samples) for samples, _ in self.ended)

    def update(self, optimizer: torch.optim.Optimizer, router: Router | None) -> None:
        """Take a gradient step on all episodes that wait."""
        samples, actions = (np.concatenate(parts) for parts in zip(*self.ended, strict=True))
        self._loss(samples, actions, router).backward()
        if router is not None:
            router.descend()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.ended = []

    def _loss(self, samples: Rows, actions: NDArray[np.int8], router: Router | None) -> Tensor:
        """Mean loss of the answers, and what a router is to lower besides."""
        sequences = self.split.sequences(samples)
        taken = torch.from_numpy(actions[:, : sequences.steps, : self.network.layout.size])
        taken = taken.to(next(self.network.parameters()).device).float()
        gates = self._given(taken) if router is None else router.gates(taken)
        outcome = self.network.run(self.split.inputs(samples), sequences, gates)
        label, task = self.split.label[samples], sequences.task
        if self.split.every_step:
            label, task = label[label >= 0], sequences.pair_task
        targets = torch.from_numpy(np.stack([label, task])).to(taken.device)
        logits = self._classes.restrict(outcome.logits, targets[1])
        loss = functional.cross_entropy(logits, targets[0]) + outcome.auxiliary
        if outcome.gates.requires_grad:
            loss = loss + self._penalties(sequences.mean(outcome.gates)).mean()
        return loss

    def _given(self, taken: Tensor) -> GatesOf:
        flat = taken.flatten(0, 1)
        return lambda at: Given(self.network.layout, flat[at])

    def state(self) -> list[Any]:
        """The episodes that wait, as tensors."""
        return [tuple(torch.from_numpy(part.copy()) for part in entry) for entry in self.ended]

    def load(self, state: list[Any]) -> None:
        """Undo `state`."""
        self.ended = [(samples.numpy().copy(), actions.numpy().copy()) for samples, actions in state]
