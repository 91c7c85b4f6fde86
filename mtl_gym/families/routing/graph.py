"""The passes through a network between two updates: values under way, and the losses that wait for their update.

The graph that is built while acting is the graph that is trained, so it cannot be copied; but it follows from the
weights and from what was done, in order. That log is what a checkpoint keeps, and replaying it gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.families.routing.network import RoutedNetwork

Index = NDArray[np.int64]


class RouteGraph:
    """Values of `num_envs` rows on their way through `network`.

    Args:
        network: The network; it is put into training or evaluation mode as `train` says whenever it runs.
        inputs: Gives the inputs of samples: int64 [n] -> float32 [n, *input_shape].
        num_envs: Rows.
        train: Whether gradients are wanted; without, nothing is logged.

    Attributes:
        values: What the block chosen last gave; float32 [num_envs, width].
        losses: Losses of finished routes, with their graphs; float32 [n] each.
        log: What was done since the last `clear`, in order.
    """

    def __init__(self, network: RoutedNetwork, inputs: Callable[[Index], Tensor], num_envs: int, train: bool) -> None:
        self.network, self.inputs, self.train = network, inputs, train
        self.device = next(network.parameters()).device
        self.features: Tensor = torch.empty(0)
        self.values = torch.zeros(num_envs, network.width, device=self.device)
        self.losses: list[Tensor] = []
        self.log: list[tuple[str, tuple[Any, ...]]] = []

    def embed(self, samples: Index) -> None:
        """Send a batch of samples, int64 [n], through the trunk together."""
        self._note("embed", samples)
        with torch.set_grad_enabled(self.train):
            self.features = self.network.embed(self.inputs(samples))

    def begin(self, rows: Index, positions: Index) -> None:
        """Put the features at `positions` of the last `embed` into `rows`; int64 [n] each."""
        self._note("begin", rows, positions)
        with torch.set_grad_enabled(self.train):
            if self._is_everything(positions, self.features) and self._is_everything(rows, self.values):
                self.values = self.features
            else:
                self._put(rows, self.features[self._index(positions)])

    def apply(self, rows: Index, depth: int, choices: Index) -> None:
        """Carry out the choices of `rows`, all at `depth`; int64 [n] each."""
        self._note("apply", rows, depth, choices)
        with torch.set_grad_enabled(self.train):
            everyone = self._is_everything(rows, self.values)
            values = self.values if everyone else self.values[self._index(rows)]
            self._put(rows, self.network.apply(values, depth, choices))

    def finish(self, rows: Index, labels: Index, loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """End the routes of `rows`, whose labels are `labels`; int64 [n] each.

        Returns:
            Logits, float32 [n, classes], and losses, float32 [n]; both detached.
        """
        self._note("finish", rows, labels)
        with torch.set_grad_enabled(self.train):
            logits = self.values[self._index(rows), : self.network.classes]
            losses = loss(logits, self._index(labels))
        if self.train:
            self.losses.append(losses)
        return logits.detach(), losses.detach()

    def clear(self) -> None:
        """Forget everything under way; the next thing to do is `embed`."""
        self.features, self.values = self.features.detach(), self.values.detach()
        self.losses, self.log = [], []

    def replay(self, log: list[tuple[str, tuple[Any, ...]]], loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Do again what `log` says."""
        for what, arguments in log:
            extra = (loss,) if what == "finish" else ()
            getattr(self, what)(*arguments, *extra)

    def _note(self, what: str, *arguments: Any) -> None:
        if self.network.training != self.train:
            self.network.train(self.train)
        if self.train:
            self.log.append((what, arguments))

    def _put(self, rows: Index, values: Tensor) -> None:
        if self._is_everything(rows, self.values):
            self.values = values
        else:
            self.values = self.values.index_copy(0, self._index(rows), values)

    def _is_everything(self, rows: Index, values: Tensor) -> bool:
        return len(rows) == len(values) and bool((rows == np.arange(len(rows))).all())

    def _index(self, rows: Index) -> Tensor:
        return torch.from_numpy(rows).to(self.device, non_blocking=True)
