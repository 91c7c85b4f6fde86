"""Finished networks of the next update, with their losses.

Losses cannot be saved, but the weights and the order of the runs determine them: a checkpoint stores the runs, and
running them again restores the losses to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mtl_gym.core.rows import Rows
from mtl_gym.core.state.structure import Many, Numbers
from mtl_gym.families.limitless import execution
from mtl_gym.families.limitless.inputs import Inputs
from mtl_gym.families.limitless.pool import ModulePool

# Returns restricted logits and losses of logits [n, classes] for samples, int64 [n].
Judge: TypeAlias = Callable[[Tensor, Rows], tuple[Tensor, Tensor]]


class Batch:
    """Runs of finished networks since the last update.

    Args:
        pool: The modules, set to training mode if `train`, else to evaluation mode, before each run.
        inputs: Inputs of the split.
        judge: Function that returns logits and losses.
        train: Compute gradients and keep losses and runs.

    Attributes:
        losses: Losses of the runs, attached to the graph; float32 [n] each.
    """

    def __init__(self, pool: ModulePool, inputs: Inputs, judge: Judge, train: bool) -> None:
        self.pool, self.inputs, self.judge, self.train = pool, inputs, judge, train
        self.losses: list[Tensor] = []
        self._log: list[tuple[Rows, Rows]] = []

    def run(self, samples: Rows, networks: Rows) -> tuple[Tensor, Tensor]:
        """Run finished networks, int64 [n, max_depth], on their samples, int64 [n], and keep the losses.

        Returns:
            Logits [n, classes] and losses [n]; both detached.
        """
        if self.pool.training != self.train:
            self.pool.train(self.train)
        with torch.set_grad_enabled(self.train):
            logits, losses = self.judge(execution.run(self.pool, self.inputs.values(samples), networks), samples)
        if self.train:
            self.losses.append(losses)
            self._log.append((samples, networks))
        return logits.detach(), losses.detach()

    def clear(self) -> None:
        """Discard the runs, after an update."""
        self.losses, self._log = [], []

    def state(self) -> list[tuple[Tensor, ...]]:
        """Return samples and networks of the runs."""
        return [tuple(torch.from_numpy(part) for part in entry) for entry in self._log]

    def model(self, samples: int, modules: int, max_depth: int) -> Many:
        """Return the model of `state`, for so many samples, modules and decisions."""
        empty = torch.empty(0, max_depth, dtype=torch.int64)
        return Many((Numbers(empty[:, 0], 0, samples - 1, free=1), Numbers(empty, -1, modules - 1, free=1)))

    def load(self, state: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Restore `state` by running its networks again."""
        for samples, networks in state:
            self.run(samples.numpy(), networks.numpy())
