"""Joint execution of finished networks: modules that are built alike run together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.rows import Rows
from mtl_gym.families.limitless.pool import ModulePool
from mtl_gym.families.limitless.stacks import Segments


def run(pool: ModulePool, x: Tensor, networks: Rows) -> Tensor:
    """Return the outputs of networks.

    Args:
        pool: Pool of the modules; modules outside all networks are not run and get no gradient.
        x: float32 [rows, *input_shape].
        networks: Modules of the network of each row, ending in a head, padded with -1; int64 [rows, depth].

    Returns:
        Logits, float32 [rows, classes].
    """
    waiting = _Waiting(pool, networks)
    waiting.arrive(x, np.arange(len(networks)))
    answers: list[tuple[Tensor, Rows]] = []
    while waiting.stacks:
        outputs, rows, ended = waiting.run_next()
        if ended:
            answers.append((outputs, rows))
        else:
            waiting.arrive(outputs, rows)
    logits, rows = _joined(answers)
    return logits.index_select(0, torch.from_numpy(np.argsort(rows)).to(logits.device, non_blocking=True))


class _Waiting:
    """Rows on their way through their networks, each before its next module.

    Rows wait for a stack until all stacks of lower `order` are empty, so that it runs as seldom as possible.

    Attributes:
        stacks: Values and rows that wait for each stack.
    """

    def __init__(self, pool: ModulePool, networks: Rows) -> None:
        self.pool, self.networks, self.depth = pool, networks, np.zeros(len(networks), np.int64)
        self.stacks: dict[int, list[tuple[Tensor, Rows]]] = {}

    def _next(self, rows: Rows) -> Rows:
        return self.networks[rows, self.depth[rows]]

    def arrive(self, values: Tensor, rows: Rows) -> None:
        """Let rows wait for the stacks of their next modules; float32 [n, *shape] and int64 [n]."""
        stacks, modules = self.pool.stacks, self._next(rows)
        dispatch = Dispatch.of(stacks.rank[modules], device=values.device)
        numbers, sizes = np.unique(stacks.of[modules], return_counts=True)
        owners = np.split(rows[dispatch.order], sizes.cumsum()[:-1])
        parts = dispatch.sort(values).split(sizes.tolist())
        for stack, part, own in zip(numbers.tolist(), parts, owners, strict=True):
            self.stacks.setdefault(stack, []).append((part, own))

    def run_next(self) -> tuple[Tensor, Rows, bool]:
        """Run the first stack on the rows that wait for it; return outputs, their rows, and whether these end."""
        stacks = self.pool.stacks
        stack = min(self.stacks, key=stacks.order)
        values, rows = _joined(self.stacks.pop(stack))
        members = stacks.member[self._next(rows)]
        if np.any(members[1:] < members[:-1]):  # rows of several arrivals
            dispatch = Dispatch.of(members, device=values.device)
            values, rows, members = dispatch.sort(values), rows[dispatch.order], members[dispatch.order]
        self.depth[rows] += 1
        return stacks[stack](values, Segments.of(members, values.device)), rows, stacks.ends[stack]


def _joined(parts: list[tuple[Tensor, Rows]]) -> tuple[Tensor, Rows]:
    values, rows = zip(*parts, strict=True)
    return (values[0] if len(values) == 1 else torch.cat(values)), np.concatenate(rows)
