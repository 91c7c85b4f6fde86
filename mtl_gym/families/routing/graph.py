"""Forward passes between two updates: current values and the losses of the next update.

Steps build the autograd graph that the update differentiates. A graph cannot be copied, but it is determined by the
weights and the sequence of calls. A checkpoint stores this log of calls; replaying it restores the graph to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.nn.stacks import gathering
from mtl_gym.core.rows import State
from mtl_gym.core.state.structure import Many, Numbers, Wanted, Whole, check, wrong
from mtl_gym.families.routing.network import RoutedNetwork

Index: TypeAlias = NDArray[np.int64]
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Calls(Wanted):
    """One entry of a log: the name of what was done, and its arguments."""

    arguments: Mapping[str, Sequence[Wanted]]

    def check(self, given: object, place: str) -> None:
        """Refuse anything else that could be called."""
        pair = given if isinstance(given, (list, tuple)) and len(given) == 2 else (None, None)
        if pair[0] not in list(self.arguments):
            raise wrong(given, place, f"one of {', '.join(self.arguments)} and its arguments")
        check(pair[1], self.arguments[pair[0]], f"{place}.1")


class RouteGraph:
    """Values and losses of `num_envs` rows routed through `network`.

    Args:
        network: Routed network, set to training mode if `train`, else to evaluation mode, before each call.
        inputs: Function that returns the inputs of samples: int64 [n] -> float32 [n, *input_shape].
        num_envs: Number of rows.
        train: Compute gradients and keep the log of calls.
        device: Device of the network.

    Attributes:
        values: Outputs of the last chosen blocks; float32 [num_envs, width].
        losses: Losses of finished routes, attached to the graph; float32 [n] each.
        log: Calls since the last `clear`, in order.
    """

    def __init__(
        self,
        network: RoutedNetwork,
        inputs: Callable[[Index], Tensor],
        num_envs: int,
        train: bool,
        device: torch.device,
    ) -> None:
        self.network, self.inputs, self.train, self.device = network, inputs, train, device
        self.features: Tensor = torch.empty(0)
        self.values = torch.zeros(num_envs, network.width, device=self.device)
        self.losses: list[Tensor] = []
        self.log: list[tuple[str, tuple[Index | int, ...]]] = []

    def embed(self, samples: Index) -> None:
        """Run the trunk on one batch of samples; int64 [n]."""
        self._note("embed", samples)
        with torch.set_grad_enabled(self.train):
            self.features = self.network.embed(self.inputs(samples))

    def begin(self, rows: Index, positions: Index) -> None:
        """Copy the features at `positions` of the last `embed` to `rows`; int64 [n] each."""
        self._note("begin", rows, positions)
        with torch.set_grad_enabled(self.train):
            if self._is_everything(positions, self.features) and self._is_everything(rows, self.values):
                self.values = self.features
            else:
                self._put(rows, self.features[self._index(positions)])

    def apply(self, rows: Index, depth: int, choices: Index) -> None:
        """Apply the choices of `rows`, all at `depth`; int64 [n] each."""
        self._note("apply", rows, depth, choices)
        with torch.set_grad_enabled(self.train), gathering(self.network.layers[depth].trainable_stack):
            everyone = self._is_everything(rows, self.values)
            values = self.values if everyone else self.values[self._index(rows)]
            self._put(rows, self.network.decide(values, depth, choices))

    def repeat(self, rows: Index, depths: Index, choices: Index) -> None:
        """Apply the first `depths` choices of the routes of `rows`; int64 [n], [n] and [n, depth]."""
        for depth in range(choices.shape[1]):
            deeper = depths > depth
            if deeper.any():
                self.apply(rows[deeper], depth, choices[deeper, depth])

    def finish(self, rows: Index, labels: Index, loss: Loss) -> tuple[Tensor, Tensor]:
        """End the routes of `rows` and compute their losses.

        Args:
            rows: int64 [n].
            labels: Second argument of `loss`; int64 [n, ...].
            loss: Function from logits and labels to losses, float32 [n].

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
        """Discard losses, log and graph; the next call must be `embed`."""
        self.features, self.values = self.features.detach(), self.values.detach()
        self.losses, self.log = [], []

    def state(self) -> State:
        """Return the calls since the last `clear` and the buffers of the network."""
        log = [(name, [_tensor(value) for value in arguments]) for name, arguments in self.log]
        return {"log": log, "buffers": {key: value.clone() for key, value in self.network.named_buffers()}}

    def model(self, samples: int, depths: int) -> State:
        """Return the model of `state`, for so many samples and decisions of a route."""
        empty = torch.empty(0, dtype=torch.int64)
        rows, labels = Numbers(empty, 0, free=1), Numbers(empty.view(0, 2), 0, free=1)
        arguments: dict[str, list[Wanted]] = {
            "embed": [Numbers(empty, 0, samples - 1, free=1)],
            "begin": [rows, rows],
            "apply": [rows, Whole(depths - 1), rows],
            "finish": [rows, labels],
        }
        return self.state() | {"log": Many(Calls(arguments))}

    def load(self, state: State, loss: Loss) -> None:
        """Restore `state` by replaying its calls; `loss` as for `finish`."""
        for name, arguments in state["log"]:
            self._call(name, list(map(_array, arguments)), loss)
        # Replayed inputs update the running statistics of batch norm a second time, so buffers are restored last.
        # Writing to `data` does not mark the graph as outdated.
        for key, value in self.network.named_buffers():
            value.data.copy_(state["buffers"][key])

    def _call(self, name: str, arguments: Sequence[Index | int], loss: Loss) -> None:
        actions: dict[str, Callable[..., object]] = {
            "embed": self.embed,
            "begin": self.begin,
            "apply": self.apply,
            "finish": partial(self.finish, loss=loss),
        }
        actions[name](*arguments)

    def of_run(self, run: int, runs: int, network: RoutedNetwork) -> RouteGraph:
        """Return a graph with the calls of one of several runs, whose rows follow one another."""
        graph = RouteGraph(network, self.inputs, len(self.values) // runs, self.train, self.device)
        graph.features = self.features[: len(self.features) // runs]
        graph.log = [
            (name, tuple(_part(value, shift * run, run, runs) for value, shift in graph._shifted(name, arguments)))
            for name, arguments in self.log
        ]
        return graph

    def join(self, graphs: Sequence[RouteGraph], loss: Loss) -> None:
        """Repeat the calls of several runs, which have made the same ones."""
        kept = [buffer.clone() for buffer in self.network.buffers()]
        for calls in zip(*(graph.log for graph in graphs), strict=True):
            name = calls[0][0]
            runs = [graph._shifted(name, call[1]) for graph, call in zip(graphs, calls, strict=True)]
            self._call(name, [_whole(values) for values in zip(*runs, strict=True)], loss)
        for buffer, before in zip(self.network.buffers(), kept, strict=True):
            buffer.data.copy_(before)

    def _shifted(self, name: str, arguments: Sequence[Index | int]) -> list[tuple[Index | int, int]]:
        """Return the arguments of a call, and by how much those of each further run are greater."""
        rows, features = len(self.values), len(self.features)
        shifts = {"begin": (rows, features), "apply": (rows, 0, 0), "finish": (rows, 0), "embed": (0,)}
        return list(zip(arguments, shifts[name], strict=True))

    def check_embedded(self, samples: int) -> None:
        """Compare the number of embedded samples after `load` with that of the waiting samples.

        Raises:
            CheckpointError: If they differ.
        """
        if len(self.features) != samples:
            raise CheckpointError(f"the log embeds {len(self.features)} samples, where {samples} wait")

    def _note(self, name: str, *arguments: Index | int) -> None:
        if self.network.training != self.train:
            self.network.train(self.train)
        if self.train:
            self.log.append((name, arguments))

    def _put(self, rows: Index, values: Tensor) -> None:
        if self._is_everything(rows, self.values):
            self.values = values
        else:
            self.values = self.values.index_copy(0, self._index(rows), values)

    def _is_everything(self, rows: Index, values: Tensor) -> bool:
        return len(rows) == len(values) and bool((rows == np.arange(len(rows))).all())

    def _index(self, rows: Index) -> Tensor:
        return torch.from_numpy(rows).to(self.device, non_blocking=True)


def _tensor(value: Index | int) -> Tensor | int:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _array(value: Tensor | int) -> Index | int:
    return value.numpy() if isinstance(value, Tensor) else value


def _part(value: Index | int, shift: int, run: int, runs: int) -> Index | int:
    return np.split(value, runs)[run] - shift if isinstance(value, np.ndarray) else value


def _whole(values: Sequence[tuple[Index | int, int]]) -> Index | int:
    first = values[0][0]
    if not isinstance(first, np.ndarray):
        return first
    return np.concatenate([value + run * shift for run, (value, shift) in enumerate(values)])
