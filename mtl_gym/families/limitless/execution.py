"""Joint execution of finished networks: at each depth, every module runs once on all of its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.shapes import Shape
from mtl_gym.families.limitless.pool import ModulePool

Index = NDArray[np.int64]


def run(pool: ModulePool, x: Tensor, networks: Index) -> Tensor:
    """Return the outputs of networks.

    Args:
        pool: Pool of the modules; modules outside all networks are not run and get no gradient.
        x: float32 [rows, *input_shape].
        networks: Modules of the network of each row, ending in a head, padded with -1; int64 [rows, depth].

    Returns:
        Logits, float32 [rows, classes].
    """
    waiting: dict[Shape, tuple[Tensor, Index]] = {pool.input_shape: (x, np.arange(len(networks)))}
    answers: list[tuple[Tensor, Index]] = []
    for choices in networks.T:
        given: dict[Shape, list[tuple[Tensor, Index]]] = defaultdict(list)
        for values, rows in waiting.values():
            for number, part, owners in _by_module(values, rows, choices[rows]):
                module = pool[number]
                place = answers if module.head else given[module.out_shape]
                place.append((module(part), owners))
        if not given:
            break
        waiting = {shape: _joined(parts) for shape, parts in given.items()}
    logits, owners = _joined(answers)
    return logits.index_select(0, torch.from_numpy(np.argsort(owners)).to(logits.device, non_blocking=True))


def _by_module(values: Tensor, rows: Index, choices: Index) -> Iterator[tuple[int, Tensor, Index]]:
    """Group the values of `rows` by their next module."""
    dispatch = Dispatch.of(choices, device=values.device)
    owners = np.split(rows[dispatch.order], np.cumsum(dispatch.counts)[:-1])
    return zip(dispatch.groups.tolist(), dispatch.split(values), owners, strict=True)


def _joined(parts: list[tuple[Tensor, Index]]) -> tuple[Tensor, Index]:
    values, owners = zip(*parts, strict=True)
    return (values[0] if len(values) == 1 else torch.cat(values)), np.concatenate(owners)
