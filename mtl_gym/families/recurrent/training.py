"""Gradient steps on whole episodes with their chosen connections.

Source: MT-RMN, section 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mtl_gym.core.classification import Classes
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.nn.eval_mode import same_in_both_modes
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.rows import Rows
from mtl_gym.core.state.structure import Many, Maybe, Numbers, Wanted, wrong
from mtl_gym.families.recurrent.network import GatesOf, MultiTaskNetwork, Outcome, given_gates
from mtl_gym.families.recurrent.sequences import SequenceSplit

# Samples, connections, and stored router data of one batch of episodes.
Kept: TypeAlias = tuple[Tensor, Tensor, Tensor | None]


class GradientRouter(Protocol):
    """Router trained by the gradient of the environment's loss through its decisions."""

    def ended(self, rows: Rows) -> Tensor:
        """Return the data about the decisions of ended `rows`, int64 [n], that `gates` needs later."""
        ...

    def gates(self, actions: Tensor, kept: Sequence[tuple[int, Tensor | None]]) -> GatesOf:
        """Return the decisions of all episodes since the last update, with their gradient.

        Args:
            actions: Decisions; float32 [episodes, steps, connections].
            kept: Consecutive groups of episodes: their number and the result of `ended`, None for other deciders.
        """
        ...

    def descend(self) -> None:
        """Take an optimizer step on the gradient of the loss."""
        ...


@dataclass(frozen=True)
class KeptByRouter(Wanted):
    """Model of a router's part: finite numbers of any shape, one entry per episode."""

    def check(self, given: object, place: str) -> None:
        """Refuse what is none."""
        if not isinstance(given, Tensor) or given.ndim == 0 or given.is_complex() or not bool(given.isfinite().all()):
            raise wrong(given, place, "a tensor of finite numbers with an axis of episodes")


class Training:
    """Ended episodes and their gradient step.

    Args:
        network: Network to train.
        split: Split of the sequences.
        classes: Valid labels of each task.
        penalties: Penalty of mean connections for routers trained by gradient; [n, C] -> [n].
    """

    def __init__(
        self,
        network: MultiTaskNetwork,
        split: SequenceSplit,
        classes: Classes,
        penalties: Callable[[Tensor], Tensor],
    ) -> None:
        self.network, self.split, self._classes, self._penalties = network, split, classes, penalties
        self.ended: list[tuple[Rows, NDArray[np.int8], Tensor | None]] = []
        self._one_mode = same_in_both_modes(network, __name__.partition(".")[0])
        self._answered: tuple[Rows, Outcome] | None = None

    def answers(self, router: GradientRouter | None) -> bool:
        """Return whether `answer` would be the forward pass of an update on episodes that end together."""
        return self._one_mode and router is None and not self.ended

    def answer(self, samples: Rows, actions: NDArray[np.int8]) -> Tensor:
        """Return the logits of whole sequences, and keep the forward pass for an update on them in the same step.

        Args:
            samples: int64 [n].
            actions: int8 [n, steps, C].

        Returns:
            As in `Outcome`.
        """
        outcome = self._run(samples, actions, None)
        self._answered = samples, outcome
        return outcome.logits.detach()

    def add(self, samples: Rows, actions: NDArray[np.int8], kept: Tensor | None) -> None:
        """Store ended episodes: samples, int64 [n], connections, int8 [n, steps, C], and the router's data."""
        self.ended.append((samples, actions, kept))

    def __len__(self) -> int:
        """Return the number of stored episodes."""
        return sum(len(samples) for samples, _, _ in self.ended)

    def update(self, optimizer: torch.optim.Optimizer, router: GradientRouter | None, seed: int) -> None:
        """Take one gradient step on all stored episodes, with the network in training mode.

        Args:
            optimizer: Optimizer of the network.
            router: Router trained with the network, or None.
            seed: Seed of random layers such as dropout.
        """
        samples, actions = (np.concatenate([entry[part] for entry in self.ended]) for part in (0, 1))
        answered, self._answered = self._answered, None
        if answered is not None and np.array_equal(answered[0], samples):
            self._loss(samples, answered[1]).backward()
        else:
            self.network.train()
            with seeded(seed):
                self._loss(samples, self._run(samples, actions, router)).backward()
            self.network.eval()
        if router is not None:
            router.descend()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.ended = []

    def _run(self, samples: Rows, actions: NDArray[np.int8], router: GradientRouter | None) -> Outcome:
        sequences, layout = self.split.sequences(samples), self.network.layout
        taken = torch.from_numpy(actions[:, : sequences.steps, : layout.size])
        taken = taken.to(next(self.network.parameters()).device).float()
        kept = [(len(episodes), decisions) for episodes, _, decisions in self.ended]
        gates = given_gates(layout, taken) if router is None else router.gates(taken, kept)
        return self.network.run(self.split.inputs(samples), sequences, gates)

    def _loss(self, samples: Rows, outcome: Outcome) -> Tensor:
        """Return the mean loss of the answers, plus the penalties if connections have a gradient."""
        sequences, label = self.split.sequences(samples), self.split.label[samples]
        task = sequences.task
        if self.split.every_step:
            label, task = label[label >= 0], sequences.pair_task
        targets = torch.from_numpy(np.stack([label, task])).to(outcome.logits.device, non_blocking=True)
        logits = self._classes.restrict(outcome.logits, targets[1])
        loss = functional.cross_entropy(logits, targets[0]) + outcome.auxiliary
        if outcome.gates.requires_grad:
            loss = loss + self._penalties(sequences.mean(outcome.gates)).mean()
        return loss

    def state(self) -> list[Kept]:
        """Return the stored episodes as tensors."""
        return [(torch.from_numpy(samples), torch.from_numpy(actions), kept) for samples, actions, kept in self.ended]

    def model(self, actions: Tensor) -> Many:
        """Return the model of `state`, where connections are int8 [rows, steps, C]."""
        samples = Numbers(torch.empty(0, dtype=torch.int64), 0, len(self.split.length) - 1, free=1)
        return Many((samples, Numbers(actions, 0, 1, free=1), Maybe(KeptByRouter())))

    def load(self, state: list[Kept]) -> None:
        """Restore `state`.

        Raises:
            CheckpointError: If the parts of an entry are of different numbers of episodes.
        """
        if any(len({len(part) for part in entry if part is not None}) != 1 for entry in state):
            raise CheckpointError("the parts of an entry that waits are of different numbers of episodes")
        device = next(self.network.parameters()).device
        self.ended = [
            (samples.numpy().copy(), actions.numpy().copy(), None if kept is None else kept.to(device))
            for samples, actions, kept in state
        ]
