"""Stacked computation of architectures of the same kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dropout import KeyedDropout, key_of_part
from mtl_gym.core.nn.stacked import Named, StackedModule, at
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.rows import Rows
from mtl_gym.families.alignment.blocks import UNKNOWN, Block, left_out, weight_tensors

logger = logging.getLogger(__name__)


class Kind(StackedModule):
    """Stack of architectures that differ only in their weights, with the parameters that are not generated.

    Args:
        members: Numbers of the architectures in the joint model.
        template: One of the architectures.
        runs: Number of joint models side by side.
        block: Inputs and outputs of a block.
        start: First location of these architectures in the joint model.
        keep: Names of layers to leave unchanged.

    Attributes:
        in_turn: Whether networks run one after the other. They must if torch cannot stack their kernels, or if random
            functions other than dropout draw from torch's CPU generator.
    """

    def __init__(
        self, members: Sequence[int], template: nn.Module, runs: int, block: Block, start: int, keep: Sequence[str]
    ) -> None:
        tensors = weight_tensors(template, keep)
        others = {name for name, _ in template.named_parameters()} - {tensor.name for tensor in tensors}
        super().__init__(template, (runs, len(members)), others)
        self.members, self.runs, self.start, self.tensors = list(members), runs, start, tensors
        self.left_out = left_out(template, keep)
        unknown = [name for name, reason in self.left_out.items() if reason == UNKNOWN]
        if unknown:
            _warn_of(type(template).__name__, ", ".join(unknown))
        self.counts = [tensor.count(block) for tensor in self.tensors]
        # torch's recurrent kernels cannot be stacked.
        self.in_turn = any(isinstance(layer, nn.RNNBase) for layer in template.modules())
        self._numbers = torch.tensor(self.members)

    @property
    def locations(self) -> int:
        """Number of blocks of all members."""
        return len(self.members) * sum(self.counts)

    def weights(self, blocks: Tensor) -> Named:
        """Return all parameters, generated or not; own blocks [runs, locations, m, n] -> [runs * members, ...] each."""
        members = len(self.members)
        named = {name: value.flatten(0, 1) for name, value in self.named().items()}
        parts = blocks.split([count * members for count in self.counts], 1)
        for tensor, part in zip(self.tensors, parts, strict=True):
            named[tensor.name] = tensor.join(part.unflatten(1, (members, -1)).flatten(0, 1))
        return named

    def run(self, weights: Named, x: Tensor, keys: Rows | None = None) -> Tensor:
        """Return the outputs of all members of all runs.

        Args:
            weights: Result of `weights`.
            x: [runs, members, rows, ...], or [members, rows, ...] for the same inputs in every run.
            keys: Dropout key of each run, int64 [runs]. Without it, masks come from torch's generators.

        Returns:
            [runs, members, rows, ...].
        """
        width = self.runs * len(self.members)
        if x.shape[:2] != (self.runs, len(self.members)):
            x = x.expand(self.runs, *x.shape)
        x = x.flatten(0, 1)
        own = None if keys is None or self.is_plain(weights) else self._keys_of_members(keys)
        if width == 1 or self.in_turn:
            stacked = self._run_in_turn(weights, x, own)
        elif own is None:
            stacked = self.run_all(weights, x)
        else:
            stacked = self.run_all(weights, x, keys=own.to(x.device), context=KeyedDropout)
        return stacked.unflatten(0, (self.runs, len(self.members)))

    def _keys_of_members(self, keys: Rows) -> Tensor:
        """Return the dropout key of each member of each run; int64 [runs] -> int64 [runs * members]."""
        return key_of_part(torch.from_numpy(keys)[:, None], self._numbers).flatten()

    def _run_in_turn(self, weights: Named, x: Tensor, keys: Tensor | None) -> Tensor:
        if keys is None:
            return torch.stack([self.call(at(weights, place), rows) for place, rows in enumerate(x)])
        outputs = []
        for place, (seed, key) in enumerate(zip(keys.tolist(), keys.to(x.device), strict=True)):
            with seeded(seed), KeyedDropout(key):  # torch's kernels draw from the generator
                outputs.append(self.call(at(weights, place), x[place]))
        return torch.stack(outputs)

    def of_member(self, run: int, member: int, weights: Named) -> Named:
        """Return the weights of one member of one run, from those of all."""
        return at(weights, run * len(self.members) + member)


@cache  # evaluation views and forks would repeat the warning
def _warn_of(architecture: str, names: str) -> None:
    logger.warning(
        "%s: %s will not be generated or shared. Only weights of dense, 1-d and 2-d convolutional and recurrent layers "
        "are generated; JointModel.coverage lists all parameters.",
        architecture,
        names,
    )
