"""Architectures of one kind run as one stacked computation; architectures of other kinds one after the other."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mtl_gym.families.alignment.blocks import UNKNOWN, Block, WeightTensor, left_out, weight_tensors

Named = dict[str, Tensor]
logger = logging.getLogger(__name__)


class Kind(nn.Module):
    """Architectures that are alike but for their weights, with the parameters that are not generated.

    Args:
        members: Numbers of the architectures in the joint model.
        template: One of them.
        runs: Joint models side by side.
        block: Inputs and outputs of a block.
        start: The joint model's first location that is this kind's.
        keep: Names of layers that stay as they are.
    """

    def __init__(
        self, members: Sequence[int], template: nn.Module, runs: int, block: Block, start: int, keep: Sequence[str]
    ) -> None:
        super().__init__()
        self.members, self.runs, self.start = list(members), runs, start
        self.tensors = weight_tensors(template, keep)
        self.left_out = left_out(template, keep)
        unknown = [name for name, reason in self.left_out.items() if reason == UNKNOWN]
        if unknown:
            _tell(type(template).__name__, ", ".join(unknown))
        self.counts = [tensor.count(block) for tensor in self.tensors]
        # In a tuple, so that it does not count as a module of this one: it lends its structure, not its weights.
        self._skeleton = (copy.deepcopy(template),)
        self._places = places_of(template)
        generated = {tensor.name for tensor in self.tensors}
        free = {name: p for name, p in template.named_parameters() if name not in generated and p.requires_grad}
        for name, p in free.items():
            value = torch.zeros(runs, len(self.members), *p.shape, dtype=p.dtype)
            self.register_parameter(name.replace(".", "/"), nn.Parameter(value))
        self._free = list(free)
        # torch's recurrent kernels cannot be stacked.
        self._one_by_one = any(isinstance(layer, nn.RNNBase) for layer in template.modules())

    @property
    def locations(self) -> int:
        """Blocks of all members."""
        return len(self.members) * sum(self.counts)

    def free(self) -> Named:
        """Parameters that are not generated, by name; [runs, members, ...]."""
        return {name: getattr(self, name.replace(".", "/")) for name in self._free}

    def ranges(self) -> list[tuple[WeightTensor, slice]]:
        """Each weight tensor with the locations of its blocks in all members, member after member."""
        places, at = [], self.start
        for tensor, count in zip(self.tensors, self.counts, strict=True):
            places.append((tensor, slice(at, at + count * len(self.members))))
            at += count * len(self.members)
        return places

    def weights(self, blocks: Tensor) -> Named:
        """Generated and free parameters, [runs * members, ...]; from all blocks [runs, locations, m, n]."""
        members = len(self.members)
        named = {name: value.flatten(0, 1) for name, value in self.free().items()}
        for tensor, places in self.ranges():
            own = blocks[:, places].unflatten(1, (members, -1)).flatten(0, 1)
            named[tensor.name] = tensor.join(own)
        return named

    def run(self, weights: Named, x: Tensor) -> Tensor:
        """What all members of all runs give.

        Args:
            weights: As `weights` gives them.
            x: [runs, members, rows, ...], or [members, rows, ...] for the same inputs in every run.

        Returns:
            [runs, members, rows, ...].
        """
        width = self.runs * len(self.members)
        if x.shape[:2] != (self.runs, len(self.members)):
            x = x.expand(self.runs, *x.shape)
        x = x.flatten(0, 1)
        if width == 1 or self._one_by_one:
            outputs = [self._call({k: v[i] for k, v in weights.items()}, x[i]) for i in range(width)]
            stacked = torch.stack(outputs)
        else:
            stacked = vmap(self._call, randomness="different")(weights, x)
        return stacked.unflatten(0, (self.runs, len(self.members)))

    def _call(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        # torch's own tying of weights leaves them behind in a module that stands in two places.
        everywhere = {place: value for name, value in weights.items() for place in self._places[name]}
        return functional_call(self._skeleton[0], everywhere, (x,), tie_weights=False)

    def call(self, run: int, member: int, weights: Named, x: Tensor) -> Tensor:
        """What one member of one run gives for a batch of inputs."""
        place = run * len(self.members) + member
        return self._call({name: value[place].contiguous() for name, value in weights.items()}, x)

    @torch.no_grad()
    def write(self, run: int, member: int, architecture: nn.Module) -> None:
        """Take the free parameters of an architecture."""
        theirs = dict(architecture.named_parameters())
        for name, value in self.free().items():
            value[run, member] = theirs[name]

    @torch.no_grad()
    def export(self, run: int, member: int, weights: Named) -> nn.Module:
        """A plain architecture with copies of the weights of one member."""
        architecture = copy.deepcopy(self._skeleton[0])
        theirs = dict(architecture.named_parameters())
        for name, value in weights.items():
            theirs[name].copy_(value[run * len(self.members) + member])
        return architecture

    def train(self, mode: bool = True) -> Kind:
        """Switch the skeleton as well, whose dropout is what runs."""
        self._skeleton[0].train(mode)
        return super().train(mode)

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]  # as torch declares it
        self._skeleton[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


@cache  # once: evaluation views and forks are made of the same architectures
def _tell(architecture: str, names: str) -> None:
    logger.warning(
        "%s: blocks do not generate %s. Generated are the weights of dense, 1-d and 2-d convolutional and recurrent "
        "layers; other matrices stay parameters of their own, which share nothing. JointModel.coverage lists both.",
        architecture,
        names,
    )


def places_of(architecture: nn.Module) -> dict[str, list[str]]:
    """By parameter all names that it has, one for each module that holds it.

    Example:
        >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        >>> tied[1].weight = tied[0].weight
        >>> places_of(tied)
        {'0.weight': ['0.weight', '1.weight']}
    """
    names = {id(p): name for name, p in architecture.named_parameters()}
    places: dict[str, list[str]] = {name: [] for name in names.values()}
    for prefix, module in architecture.named_modules():
        for name, p in module.named_parameters(recurse=False, remove_duplicate=False):
            places[names[id(p)]].append(f"{prefix}.{name}" if prefix else name)
    return places
