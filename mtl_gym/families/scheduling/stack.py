"""N independent training runs of one shared network, as one stacked computation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap

from mtl_gym.core.nn.stacked import Named, StackedModule, at
from mtl_gym.core.nn.weights import renew, seeded
from mtl_gym.families.scheduling.dropout import KeyedDropout, key_of_part
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Scores


class RunStack(nn.Module):
    """Weights of all runs, with a leading axis of runs and, for heads, a second axis of tasks.

    Weights that the template does not train are not copied.

    Args:
        template: Network of every run.
        tasks: Heads per run.
        runs: Number of runs.
        device: Device of the weights.

    Example:
        >>> template = SharedNetwork(nn.Linear(3, 4), nn.Linear(4, 2))
        >>> stack = RunStack(template, tasks=5, runs=2, device=torch.device("cpu"))
        >>> stack.renew([0, 1])
        >>> stack.run(torch.zeros(2, 1, 6, 3), torch.tensor([[3], [4]])).shape
        torch.Size([12, 2])
    """

    def __init__(self, template: SharedNetwork, tasks: int, runs: int, device: torch.device) -> None:
        super().__init__()
        self.template, self.tasks, self.runs = template, tasks, runs
        self._encoder = StackedModule(template.encoder, (runs,)).to(device)
        self._heads = StackedModule(template.head, (runs, tasks)).to(device)

    @property
    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters of the encoders, in the order of the template; [runs, ...] each."""
        return list(self._encoder.parameters())

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the heads, in the order of the template; [runs, tasks, ...] each."""
        return list(self._heads.parameters())

    @property
    def last_shared(self) -> list[nn.Parameter]:
        """Weight matrices of the encoder's last layer, see `SharedNetwork.last_shared`; [runs, ...] each."""
        matrices = {name: p for name, p in zip(self._encoder.names, self.encoder_parameters, strict=True) if p.ndim > 2}
        layer = self.template.last_shared
        if layer:
            return [
                p for name, p in matrices.items() if any(name == own or name.startswith(f"{own}.") for own in layer)
            ]
        owner = [name.rpartition(".")[0] for name in matrices][-1:]
        return [p for name, p in matrices.items() if name.rpartition(".")[0] in owner]

    def renew(self, seeds: Sequence[int]) -> None:
        """Redraw the weights of every run, each from its own seed."""
        encoder, head = copy.deepcopy((self.template.encoder, self.template.head))
        for run, seed in enumerate(seeds):
            with seeded(seed):
                renew(encoder)
                self._encoder.write((run,), encoder)
                for task in range(self.tasks):
                    renew(head)
                    self._heads.write((run, task), head)

    def run(self, x: Tensor, task: Tensor, keys: Tensor | None = None) -> Scores:
        """Return the scores of samples in groups of one task each.

        Args:
            x: Inputs of each run; [runs, groups, rows, *input_shape].
            task: Task of each group; int64 [runs, groups].
            keys: Dropout key of each run; int64 [runs] in [0, 2^32), 0 by default.

        Returns:
            Scores with the leading axis [runs * groups * rows].
        """
        return self._flat(x, task, (0, 0), keys)

    def run_shared(self, x: Tensor, task: Tensor) -> Scores:
        """Call `run` with the same inputs for every run; [groups, rows, *input_shape] and int64 [groups]."""
        return self._flat(x, task, (None, None))

    def features(self, x: Tensor) -> Tensor:
        """Return the encoders' features of the same inputs in every run; [rows, *input_shape] -> [runs, rows, ...]."""
        return vmap(self._encode_one, in_dims=(0, None), randomness="different")(self._encoder.named(), x)

    def _flat(self, x: Tensor, task: Tensor, dims: tuple[int | None, int | None], keys: Tensor | None = None) -> Scores:
        weights = (self._encoder.named(), self._heads.named())
        keys = torch.zeros(self.runs, dtype=torch.int64, device=task.device) if keys is None else keys
        call = vmap(self._run_one, in_dims=(0, 0, 0, *dims), randomness="different")
        return _flatten(call(keys, *weights, x, task))

    def _run_one(self, key: Tensor, encoder: Named, heads: Named, x: Tensor, task: Tensor) -> Scores:
        with self._dropout(key):
            features = self._encode_one(encoder, x.flatten(0, 1)).unflatten(0, x.shape[:2])
        own = at(heads, task)
        groups = torch.arange(len(task), device=task.device)
        return vmap(partial(self._score_one, key), randomness="different")(groups, own, features)

    def _encode_one(self, encoder: Named, x: Tensor) -> Tensor:
        return self._encoder.call(encoder, x)

    def _score_one(self, key: Tensor, group: Tensor, head: Named, features: Tensor) -> Scores:
        with self._dropout(key_of_part(key, group)):
            return self._heads.call(head, features)

    def _dropout(self, key: Tensor) -> AbstractContextManager[object]:
        return KeyedDropout(key) if self.training else nullcontext()

    def single(self, run: int) -> tuple[nn.Module, list[nn.Module]]:
        """Return encoder and heads of one run as plain modules with copied weights."""
        heads = at(self._heads.named(), run)
        encoder = self._encoder.single(at(self._encoder.named(), run))
        return encoder, [self._heads.single(at(heads, task)) for task in range(self.tasks)]


def _flatten(scores: Scores) -> Scores:
    if isinstance(scores, tuple):
        return tuple(part.flatten(0, 2) for part in scores)
    return scores.flatten(0, 2)
