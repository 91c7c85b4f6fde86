"""N independent training runs of one shared network, as one stacked computation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from mtl_gym.core.nn.adam import Place, consecutive
from mtl_gym.core.nn.dropout import KeyedDropout, key_of_part
from mtl_gym.core.nn.eval_mode import eval_mode
from mtl_gym.core.nn.stacked import Named, StackedModule, at
from mtl_gym.core.nn.weights import renew, seeded
from mtl_gym.core.rows import Rows
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
        >>> heads = stack.heads_at(stack.places(np.array([[3], [4]])))
        >>> stack.run(torch.zeros(2, 1, 6, 3), heads).shape
        torch.Size([12, 2])
    """

    def __init__(self, template: SharedNetwork, tasks: int, runs: int, device: torch.device) -> None:
        super().__init__()
        self.template, self.tasks, self.runs = template, tasks, runs
        self._encoder = StackedModule(template.encoder, (runs,)).to(device)
        self._heads = StackedModule(template.head, (runs, tasks)).to(device)
        self._no_keys = torch.zeros(runs, dtype=torch.int64, device=device)
        self._first = tasks * np.arange(runs)[:, None]
        self._is_plain = all(part.is_plain(part.names) for part in (self._encoder, self._heads))

    @property
    def encoder_parameters(self) -> list[Tensor]:
        """Parameters of the encoders, in the order of the template; [runs, ...] each."""
        return list(self._encoder.named().values())

    @property
    def head_parameters(self) -> list[Tensor]:
        """Parameters of the heads, in the order of the template; [runs, tasks, ...] each."""
        return list(self._heads.named().values())

    @property
    def last_shared(self) -> list[Tensor]:
        """Weight matrices of the encoder's last layer, see `SharedNetwork.last_shared`; [runs, ...] each."""
        return [self.encoder_parameters[place] for place in self.last_places]

    @cached_property
    def last_places(self) -> list[int]:
        """Places of `last_shared` among the parameters of the encoders."""
        names = [name for name, p in self._encoder.named().items() if p.ndim > 2]
        layer = self.template.last_shared
        if layer:
            last = [name for name in names if any(name == own or name.startswith(f"{own}.") for own in layer)]
        else:
            last = [name for name in names if name.rpartition(".")[0] == names[-1].rpartition(".")[0]]
        return [self._encoder.names.index(name) for name in last]

    def renew(self, seeds: Sequence[int]) -> None:
        """Redraw the weights of every run, each from its own seed."""
        encoder, head = copy.deepcopy((self.template.encoder, self.template.head))
        encoders, heads = [], []
        for seed in seeds:
            with seeded(seed):
                renew(encoder)
                encoders.append(self._encoder.weights_of(encoder))
                for _ in range(self.tasks):
                    renew(head)
                    heads.append(self._heads.weights_of(head))
        self._encoder.fill(encoders)
        self._heads.fill(heads)

    def places(self, task: Rows) -> Place:
        """Return the place of each group's head among those of all runs; int64 [runs, groups] -> [runs * groups]."""
        flat = (task + self._first).ravel()
        found = consecutive(flat)
        return torch.from_numpy(flat).to(self._no_keys.device) if found is None else found

    def heads_at(self, place: Place) -> Named:
        """Return the heads at some places, with gradients of their own; [heads, ...] each."""
        named = self._heads.named().items()
        return {name: value.detach().flatten(0, 1)[place].requires_grad_() for name, value in named}

    def run(self, x: Tensor, heads: Named, keys: Rows | None = None) -> Scores:
        """Return the scores of samples in groups of one task each.

        Args:
            x: Inputs of each run; [runs, groups, rows, *input_shape].
            heads: Head of each group; [runs * groups, ...] each.
            keys: Dropout key of each run; int64 [runs] in [0, 2^32), 0 by default.

        Returns:
            Scores with the leading axis [runs * groups * rows].
        """
        own = self._no_keys if keys is None or self._is_plain else torch.from_numpy(keys).to(self._no_keys.device)
        features = self._encoder.run_all(self._encoder.named(), x.flatten(1, 2), keys=own, context=self._dropout)
        return self._score(features.reshape(-1, x.shape[2], *features.shape[2:]), heads, own)

    def run_shared(self, x: Tensor) -> Scores:
        """Return the scores of the same samples in every run.

        Args:
            x: Inputs of each task, [tasks, rows, *input_shape], or of all of them, [1, rows, *input_shape].

        Returns:
            Scores with the leading axis [runs * tasks * rows].
        """
        features = self.features(x.flatten(0, 1))
        each = features if len(x) == self.tasks else features[:, None].expand(-1, self.tasks, *features.shape[1:])
        heads = {name: value.flatten(0, 1) for name, value in self._heads.named().items()}
        return self._score(each.reshape(-1, x.shape[1], *features.shape[2:]), heads, self._no_keys)

    def measured(self) -> AbstractContextManager[None]:
        """Put all networks in evaluation mode for the length of a block."""
        return nullcontext() if self._is_plain else eval_mode(self)

    def features(self, x: Tensor) -> Tensor:
        """Return the encoders' features of the same inputs in every run; [rows, *input_shape] -> [runs, rows, ...]."""
        features: Tensor = self._encoder.run_all(
            self._encoder.named(), x, shared=True, keys=self._no_keys, context=self._dropout
        )
        return features

    def _score(self, features: Tensor, heads: Named, keys: Tensor) -> Scores:
        """Return the scores of groups with a head each; [runs * groups, rows, ...] -> [runs * groups * rows, ...]."""
        if not self._is_plain:
            groups = torch.arange(len(features) // self.runs, device=keys.device)
            keys = key_of_part(keys[:, None], groups).flatten()
        return _flatten(self._heads.run_all(heads, features, keys=keys, context=self._dropout))

    def _dropout(self, key: Tensor) -> AbstractContextManager[object]:
        return KeyedDropout(key) if self.training else nullcontext()

    def single(self, run: int) -> tuple[nn.Module, list[nn.Module]]:
        """Return encoder and heads of one run as plain modules with copied weights."""
        heads = at(self._heads.named(), run)
        encoder = self._encoder.single(at(self._encoder.named(), run))
        return encoder, [self._heads.single(at(heads, task)) for task in range(self.tasks)]


def _flatten(scores: Scores) -> Scores:
    if isinstance(scores, tuple):
        return tuple(part.flatten(0, 1) for part in scores)
    return scores.flatten(0, 1)
