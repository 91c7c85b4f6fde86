"""Finished networks of the next update.

Networks that end before the step of the update answer without a graph, and run again in it, all in one pass: graphs of
all steps would take longer than this second run. A checkpoint stores samples and networks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
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
    """Samples and finished networks since the last update.

    Args:
        pool: The modules, set to training mode if `train`, else to evaluation mode, before each run.
        inputs: Inputs of the split.
        judge: Function that returns logits and losses.
        train: Keep samples and networks for the update.
    """

    def __init__(self, pool: ModulePool, inputs: Inputs, judge: Judge, train: bool) -> None:
        self.pool, self.inputs, self.judge, self.train = pool, inputs, judge, train
        self._log: list[tuple[Rows, Rows]] = []
        self._losses: Tensor | None = None

    @property
    def _trains(self) -> bool:
        return self.train and any(parameter.requires_grad for parameter in self.pool.parameters())

    def answer(self, samples: Rows, networks: Rows, last: bool) -> tuple[Tensor, Tensor]:
        """Run finished networks, int64 [n, max_depth], on their samples, int64 [n].

        Args:
            samples: int64 [n].
            networks: int64 [n, max_depth].
            last: An update follows, with no other networks than these and earlier ones.

        Returns:
            Logits [n, classes] and losses [n]; both detached.
        """
        if self.train:
            self._log.append((samples, networks))
        self._losses = None
        if not (last and self._trains):
            with torch.no_grad():
                return self._run(samples, networks)
        logits, self._losses = self._run(*self._logged())
        return logits[-len(samples) :].detach(), self._losses[-len(samples) :].detach()

    def losses(self) -> Tensor | None:
        """Return the losses of all networks, with their graph; float32 [n], or None if nothing trains."""
        if self._losses is None and self._log and self._trains:
            self._losses = self._run(*self._logged())[1]
        return self._losses

    def _logged(self) -> tuple[Rows, Rows]:
        samples, networks = zip(*self._log, strict=True)
        return np.concatenate(samples), np.concatenate(networks)

    def _run(self, samples: Rows, networks: Rows) -> tuple[Tensor, Tensor]:
        if self.pool.training != self.train:
            self.pool.train(self.train)
        return self.judge(execution.run(self.pool, self.inputs.values(samples), networks), samples)

    def clear(self) -> None:
        """Discard the networks, after an update."""
        self._log, self._losses = [], None

    def state(self) -> list[tuple[Tensor, ...]]:
        """Return samples and networks, step by step."""
        return [tuple(torch.from_numpy(part) for part in entry) for entry in self._log]

    def model(self, samples: int, modules: int, max_depth: int) -> Many:
        """Return the model of `state`, for so many samples, modules and decisions."""
        empty = torch.empty(0, max_depth, dtype=torch.int64)
        return Many((Numbers(empty[:, 0], 0, samples - 1, free=1), Numbers(empty, -1, modules - 1, free=1)))

    def load(self, state: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Restore `state`."""
        self._log = [(samples.numpy().copy(), networks.numpy().copy()) for samples, networks in state]
