"""Connections decided at every time step: their layout, sources and sparsity penalty.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.nn.dispatch import Dispatch

Numbers = TypeVar("Numbers", Tensor, NDArray[np.float32])


@dataclass(frozen=True)
class ConnectionLayout:
    """Connections in the order of the entries of an action.

    Connections of the encoder come first, block by block, ordered by source, then by target sub-network; then those
    from sub-encoders to the sub-decoders of the task.

    Attributes:
        encoder: Numbers of source and target sub-networks of each block.
        decoder: Number of sub-encoders available to each sub-decoder.

    Example:
        >>> layout = ConnectionLayout.of_layers((3, 3, 3))
        >>> layout.c1, layout.c2, layout.names[0], layout.names[-1]
        (18, 6, 'cell 1 > A', 'F > decoder 2')
    """

    encoder: tuple[tuple[int, int], ...] = ()
    decoder: tuple[int, ...] = ()

    @classmethod
    def of_layers(cls, sizes: tuple[int, ...]) -> ConnectionLayout:
        """Return a layout in which each layer feeds the next, and each layer except the first feeds a sub-decoder."""
        return cls(tuple(pairwise(sizes)), tuple(sizes[1:]))

    @cached_property
    def c1(self) -> int:
        """Number of connections within the encoder (C_1 of eq. 10)."""
        return sum(map(prod, self.encoder))

    @cached_property
    def c2(self) -> int:
        """Number of connections from sub-encoders to the sub-decoders of one task (C_2 of eq. 11)."""
        return sum(self.decoder)

    @cached_property
    def size(self) -> int:
        """Number of all connections."""
        return self.c1 + self.c2

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """First connection of each block of the encoder, then of each sub-decoder; int64 [blocks + sub-decoders]."""
        return np.cumsum([0, *map(prod, self.encoder), *self.decoder])

    def encoder_part(self, block: int, flat: Tensor) -> Tensor:
        """Return the connections of one block of the encoder; [rows, size] -> [rows, from, to]."""
        return flat.narrow(1, int(self._starts[block]), prod(self.encoder[block])).unflatten(1, self.encoder[block])

    def decoder_part(self, block: int, flat: Tensor) -> Tensor:
        """Return the connections of one sub-decoder; [rows, size] -> [rows, from]."""
        return flat.narrow(1, int(self._starts[len(self.encoder) + block]), self.decoder[block])

    @cached_property
    def receivers(self) -> NDArray[np.int64]:
        """Number of the target of each connection, counting sub-encoders, then sub-decoders; int64 [size]."""
        firsts = np.cumsum([0, *(to for _, to in self.encoder)])
        parts = [np.tile(np.arange(to) + first, n) for (n, to), first in zip(self.encoder, firsts, strict=False)]
        parts += [np.full(n, firsts[-1] + number) for number, n in enumerate(self.decoder)]
        return np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64)

    @cached_property
    def names(self) -> list[str]:
        """Labels of the connections in pictures."""
        layers = [*[n for n, _ in self.encoder[:1]], *[to for _, to in self.encoder]] or [0, *self.decoder]
        units = [[f"cell {i + 1}" for i in range(layers[0])]]
        for size in layers[1:]:
            first = sum(map(len, units[1:]))
            units.append([letter(first + i) for i in range(size)])
        names = [
            f"{a} > {b}" for before, after in pairwise(units[: len(self.encoder) + 1]) for a in before for b in after
        ]
        return names + [f"{a} > decoder {i + 1}" for i, layer in enumerate(units[1:]) for a in layer]

    def random(self, count: int, random: np.random.Generator) -> NDArray[np.int8]:
        """Draw connections, each on with probability 1/2, at least one into every target; int8 [count, size]."""
        drawn = random.integers(2, size=(count, self.size)).astype(np.int8)
        for receiver in np.unique(self.receivers):
            into = np.flatnonzero(self.receivers == receiver)
            missing = np.flatnonzero(~drawn[:, into].any(1))
            drawn[missing, into[random.integers(len(into), size=len(missing))]] = 1
        return drawn


def letter(number: int) -> str:
    """Return the label of a sub-encoder as in figure 4: A, B, ..., Z, AA, ..."""
    return (letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


class Gates(Protocol):
    """Source of the binary decisions of a time step: an action or policy networks."""

    def encoder(self, block: int, units: Tensor) -> Tensor:
        """Return the connections of a block, given outputs [from, rows, width]; float32 [rows, from, to]."""
        ...

    def decoder(self, block: int, units: Tensor, own: Tensor | None, groups: Dispatch) -> Tensor:
        """Return the connections of a sub-decoder, given outputs and task states [rows, own]; float32 [rows, from]."""
        ...


@dataclass(frozen=True)
class Given:
    """Gates given by an action.

    Attributes:
        layout: Layout of the connections.
        action: float32 [rows, connections].

    Example:
        >>> import torch
        >>> gates = Given(ConnectionLayout.of_layers((1, 2)), torch.tensor([[1.0, 0, 1, 1]]))
        >>> gates.encoder(0, torch.zeros(1, 1, 4)), gates.decoder(0, torch.zeros(2, 1, 4), None, None)
        (tensor([[[1., 0.]]]), tensor([[1., 1.]]))
    """

    layout: ConnectionLayout
    action: Tensor

    def encoder(self, block: int, units: Tensor) -> Tensor:
        """Return the connections of a block, as `Gates.encoder`."""
        return self.layout.encoder_part(block, self.action)

    def decoder(self, block: int, units: Tensor, own: Tensor | None, groups: Dispatch | None) -> Tensor:
        """Return the connections of a sub-decoder, as `Gates.decoder`."""
        return self.layout.decoder_part(block, self.action)


def sparsity(
    gates: Numbers,
    layout: ConnectionLayout,
    weights: tuple[float, float] = (1.0, 1.0),
    free: tuple[float, float] = (0.75, 0.75),
) -> Numbers:
    """Return the sparsity penalty lambda_1 R_1 + lambda_2 R_2.

    The sums of the equations and the numbers of possible connections extend over time; here both are divided by the
    number of time steps. The penalty does not depend on when connections are on.

    Args:
        gates: Connections, averaged over the time steps of a sequence; tensor or array float32 [..., connections].
        layout: Layout of the connections.
        weights: lambda_1 and lambda_2.
        free: gamma_1 and gamma_2, the shares of connections without cost.

    Returns:
        float32 [...].

    Source: MT-RMN, eqs. 10 and 11.

    Example:
        >>> import torch
        >>> sparsity(torch.ones(24), ConnectionLayout.of_layers((3, 3, 3)))
        tensor(6.)
    """
    first = gates[..., : layout.c1].sum(-1) - free[0] * layout.c1
    second = gates[..., layout.c1 :].sum(-1) - free[1] * layout.c2
    # Unlike a maximum with 0, this is the same for arrays and tensors, and has no gradient at 0.
    return weights[0] * (first * (first > 0)) + weights[1] * (second * (second > 0))


@dataclass(frozen=True)
class SparsityPenalty:
    """Sparsity penalty of an environment; fields as the arguments of `sparsity`."""

    layout: ConnectionLayout
    weights: tuple[float, float]
    free: tuple[float, float]

    def __call__(self, gates: Numbers) -> Numbers:
        """Return the penalty of mean connections; float32 [..., C] -> [...].

        Networks without a layout have one connection without effect, which is ignored.
        """
        (first, second), (some, others) = self.weights, self.free  # settings files contain lists
        return sparsity(gates[..., : self.layout.size], self.layout, (first, second), (some, others))
