"""Mixtures of modules for all locations, as training steps them: their gradient stands in one lasting buffer."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Numbers in a part of the gradient that is computed at once. A whole gradient would be new memory in every step, which
# the system clears page by page; that takes several times as long as the sums.
PART = 2**20


class _Part(NamedTuple):
    """Rows of modules, with the uses of each in the order of the rows."""

    rows: slice
    uses: slice
    locations: Tensor
    starts: Tensor


class Mixture:
    """Weighted sums of modules, one for each location, for modules that do not change between gradient steps.

    A backward pass sets the gradient of the modules, in place of adding to it. It equals that of
    `torch.nn.functional.embedding_bag` to the bit.

    Args:
        modules: Parameter of the modules, float32 [..., m, n]; all leading axes together count rows.
        table: Rows that are summed for each location; int64 [locations, slots].

    Example:
        >>> modules = nn.Parameter(torch.ones(3, 2, 2))
        >>> mixture = Mixture(modules, torch.tensor([[0, 1], [1, 2]]))
        >>> mixture.sums(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
        >>> modules.grad[:, 0, 0]
        tensor([1., 5., 4.])
    """

    def __init__(self, modules: nn.Parameter, table: Tensor) -> None:
        self.modules, self.table = modules, table
        rows, width = modules[..., 0, 0].numel(), modules.shape[-2:].numel()
        self._gradient = torch.empty(rows, width, device=modules.device)
        # This sort, and not a stable one, gives the order in which torch adds up the uses of a row.
        ordered, self._order = table.flatten().sort()
        starts = torch.searchsorted(ordered, torch.arange(rows + 1, device=table.device))
        self._parts = self._divided(starts, max(1, PART // width), self._order // table.shape[1])

    def _divided(self, starts: Tensor, size: int, locations: Tensor) -> list[_Part]:
        """Return parts of so many rows, from where the uses of each row start and the location of each use."""
        rows = [slice(first, min(first + size, len(starts) - 1)) for first in range(0, len(starts) - 1, size)]
        inner = torch.stack([starts[part.start] for part in rows[1:]]).tolist() if len(rows) > 1 else []
        bounds = pairwise([0, *inner, len(locations)])
        return [
            _Part(part, slice(first, last), locations[first:last], starts[part] - first)
            for part, (first, last) in zip(rows, bounds, strict=True)
        ]

    def sums(self, shares: Tensor) -> Tensor:
        """Return the sums of each location's rows times its shares; [locations, slots] -> [locations, m * n]."""
        modules = self.modules.detach().flatten(0, -3).flatten(1)
        sums = functional.embedding_bag(self.table, modules, per_sample_weights=shares, mode="sum")
        if torch.is_grad_enabled():
            sums.requires_grad_()  # also where no share is trained
            sums.register_hook(partial(self._collect, shares.detach()))
        return sums

    @torch.no_grad()
    def _collect(self, shares: Tensor, gradient: Tensor) -> None:
        """Set the gradient of the modules from that of their sums; [locations, m * n]."""
        shares = shares.flatten()[self._order]
        for rows, uses, locations, starts in self._parts:
            part = functional.embedding_bag(locations, gradient, starts, per_sample_weights=shares[uses], mode="sum")
            self._gradient[rows] = part
        self.modules.grad = self._gradient.view_as(self.modules)
