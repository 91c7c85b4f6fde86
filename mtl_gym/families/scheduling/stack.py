"""N independent training runs of one shared network, as one stacked computation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mtl_gym.core.nn.weights import renewed, seeded
from mtl_gym.families.scheduling.dropout import KeyedDropout, key_of_part
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Scores

Named = dict[str, Tensor]


class RunStack(nn.Module):
    """The weights of all runs, with a leading axis of runs; those of heads have a second one of tasks.

    Weights that the template does not train are not copied.

    Args:
        template: The network that every run trains.
        tasks: Heads per run.
        runs: Runs side by side.
        device: Where they are.

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
        # In a tuple, so that they do not count as modules of the stack: they lend their structure, not their weights.
        self._skeletons = (copy.deepcopy(template.encoder).to(device), copy.deepcopy(template.head).to(device))
        self._encoder = _Weights(_trained(template.encoder), (runs,), device)
        self._heads = _Weights(_trained(template.head), (runs, tasks), device)

    @property
    def encoder_parameters(self) -> list[nn.Parameter]:
        """[runs, ...], in the order of the encoder's own."""
        return list(self._encoder.values.values())

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """[runs, tasks, ...], in the order of the head's own."""
        return list(self._heads.values.values())

    @property
    def last_shared(self) -> list[nn.Parameter]:
        """The weight matrices of the encoder's last layer, as `SharedNetwork.last_shared` names it; [runs, ...]."""
        matrices = {name: p for name, p in self._encoder.values.items() if p.ndim > 2}
        layer = self.template.last_shared
        if layer:
            return [
                p for name, p in matrices.items() if any(name == own or name.startswith(f"{own}.") for own in layer)
            ]
        owner = [name.rpartition(".")[0] for name in matrices][-1:]
        return [p for name, p in matrices.items() if name.rpartition(".")[0] in owner]

    def renew(self, seeds: Sequence[int]) -> None:
        """Draw the weights of every run anew, from a seed each."""
        for run, seed in enumerate(seeds):
            with seeded(seed):
                self._encoder.write((run,), _trained(renewed(self.template.encoder)))
                for task in range(self.tasks):
                    self._heads.write((run, task), _trained(renewed(self.template.head)))

    def run(self, x: Tensor, task: Tensor, keys: Tensor | None = None) -> Scores:
        """What the heads give for samples that stand in groups of one task each.

        Args:
            x: Inputs of each run, [runs, groups, rows, *input_shape].
            task: The task of each group, int64 [runs, groups].
            keys: What each run's dropout masks come from, int64 [runs] in [0, 2^32); by default 0.

        Returns:
            Scores of [runs * groups * rows].
        """
        return self._flat(x, task, (0, 0), keys)

    def run_shared(self, x: Tensor, task: Tensor) -> Scores:
        """As `run` for the same inputs in every run; [groups, rows, *input_shape] and int64 [groups]."""
        return self._flat(x, task, (None, None))

    def features(self, x: Tensor) -> Tensor:
        """What the encoders give for the same inputs in every run; [rows, *input_shape] -> [runs, rows, ...]."""
        return vmap(self._encode_one, in_dims=(0, None), randomness="different")(self._encoder.named(), x)

    def _flat(self, x: Tensor, task: Tensor, dims: tuple[int | None, int | None], keys: Tensor | None = None) -> Scores:
        weights = (self._encoder.named(), self._heads.named())
        keys = torch.zeros(self.runs, dtype=torch.int64, device=task.device) if keys is None else keys
        call = vmap(self._run_one, in_dims=(0, 0, 0, *dims), randomness="different")
        return _flatten(call(keys, *weights, x, task))

    def _run_one(self, key: Tensor, encoder: Named, heads: Named, x: Tensor, task: Tensor) -> Scores:
        with self._dropout(key):
            features = self._encode_one(encoder, x.flatten(0, 1)).unflatten(0, x.shape[:2])
        own = {name: values[task] for name, values in heads.items()}
        groups = torch.arange(len(task), device=task.device)
        return vmap(partial(self._score_one, key), randomness="different")(groups, own, features)

    def _encode_one(self, encoder: Named, x: Tensor) -> Tensor:
        return functional_call(self._skeletons[0], encoder, (x,))

    def _score_one(self, key: Tensor, group: Tensor, head: Named, features: Tensor) -> Scores:
        with self._dropout(key_of_part(key, group)):
            return functional_call(self._skeletons[1], head, (features,))

    def _dropout(self, key: Tensor) -> AbstractContextManager[Any]:
        return KeyedDropout(key) if self.training else nullcontext()

    def train(self, mode: bool = True) -> RunStack:
        """Switch the skeletons as well, whose dropout is what runs."""
        for skeleton in self._skeletons:
            skeleton.train(mode)
        return super().train(mode)

    def single(self, run: int) -> tuple[nn.Module, list[nn.Module]]:
        """Encoder and heads of one run as plain modules with copied weights."""
        encoder, head = (copy.deepcopy(skeleton) for skeleton in self._skeletons)
        heads = [copy.deepcopy(head) for _ in range(self.tasks)]
        self._encoder.read((run,), encoder)
        for task, module in enumerate(heads):
            self._heads.read((run, task), module)
        return encoder, heads


class _Weights(nn.Module):
    """Parameters by name with leading axes. Dots in names become slashes, which a module's parameters may have."""

    def __init__(self, like: Mapping[str, Tensor], axes: tuple[int, ...], device: torch.device) -> None:
        super().__init__()
        self.values: dict[str, nn.Parameter] = {}
        for name, value in like.items():
            self.values[name] = nn.Parameter(torch.zeros(*axes, *value.shape, dtype=value.dtype, device=device))
            self.register_parameter(name.replace(".", "/"), self.values[name])

    def named(self) -> Named:
        return dict(self.values)

    @torch.no_grad()
    def write(self, place: tuple[int, ...], source: Mapping[str, Tensor]) -> None:
        for name, value in source.items():
            self.values[name][place].copy_(value)

    @torch.no_grad()
    def read(self, place: tuple[int, ...], target: nn.Module) -> None:
        parameters = dict(target.named_parameters())
        for name, value in self.values.items():
            parameters[name].copy_(value[place])


def _trained(module: nn.Module) -> Named:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def _flatten(scores: Scores) -> Scores:
    if isinstance(scores, tuple):
        return tuple(part.flatten(0, 2) for part in scores)
    return scores.flatten(0, 2)
