"""N independent training runs of one shared network, as one stacked computation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mtl_gym.scheduling.network import SharedNetwork
from mtl_gym.scheduling.objectives import Scores
from mtl_gym.weights import renewed, seeded

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
        self._random = any(isinstance(m, nn.modules.dropout._DropoutNd) for s in self._skeletons for m in s.modules())

    @property
    def encoder_parameters(self) -> list[nn.Parameter]:
        """[runs, ...], in the order of the encoder's own."""
        return list(self._encoder.values.values())

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """[runs, tasks, ...], in the order of the head's own."""
        return list(self._heads.values.values())

    @property
    def last_shared(self) -> nn.Parameter:
        """The encoder's last weight matrix; [runs, ...]."""
        return next(p for p in reversed(self.encoder_parameters) if p.ndim > 2)

    def renew(self, seeds: Sequence[int]) -> None:
        """Draw the weights of every run anew, from a seed each."""
        for run, seed in enumerate(seeds):
            with seeded(seed):
                self._encoder.write((run,), _trained(renewed(self.template.encoder)))
                for task in range(self.tasks):
                    self._heads.write((run, task), _trained(renewed(self.template.head)))

    def run(self, x: Tensor, task: Tensor, *, seed: int = 0) -> Scores:
        """What the heads give for samples that stand in groups of one task each.

        Args:
            x: Inputs of each run, [runs, groups, rows, *input_shape].
            task: The task of each group, int64 [runs, groups].
            seed: For dropout, if there is any.

        Returns:
            Scores of [runs * groups * rows].
        """
        return self._flat(x, task, (0, 0), seed)

    def run_shared(self, x: Tensor, task: Tensor) -> Scores:
        """As `run` for the same inputs in every run; [groups, rows, *input_shape] and int64 [groups]."""
        return self._flat(x, task, (None, None), 0)

    def features(self, x: Tensor) -> Tensor:
        """What the encoders give for the same inputs in every run; [rows, *input_shape] -> [runs, rows, ...]."""
        return vmap(self._encode_one, in_dims=(0, None), randomness="different")(self._encoder.named(), x)

    def _flat(self, x: Tensor, task: Tensor, dims: tuple[int | None, int | None], seed: int) -> Scores:
        weights = (self._encoder.named(), self._heads.named())
        call = vmap(self._run_one, in_dims=(0, 0, *dims), randomness="different")
        if self._random and self.training:
            with seeded(seed):
                return _flatten(call(*weights, x, task))
        return _flatten(call(*weights, x, task))

    def _encode_one(self, encoder: Named, x: Tensor) -> Tensor:
        return functional_call(self._skeletons[0], encoder, (x,))

    def _run_one(self, encoder: Named, heads: Named, x: Tensor, task: Tensor) -> Scores:
        features = self._encode_one(encoder, x.flatten(0, 1)).unflatten(0, x.shape[:2])
        own = {name: values[task] for name, values in heads.items()}
        return vmap(partial(functional_call, self._skeletons[1]), randomness="different")(own, features)

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
