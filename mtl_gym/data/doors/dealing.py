"""Seeded splits in which equal inputs stay together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mtl_gym.data.doors.samples import Codes


def deal(cell: Codes, unit: Codes, shares: Mapping[int, float], random: np.random.Generator) -> Codes:
    """Deal samples to splits, so that samples of one unit share a split and rare classes are in every split.

    A unit counts as one of its rarest cell. The units of each cell are dealt at random by the shares, so that shares of
    cells that have units in common are approximate.

    Args:
        cell: Class of each sample within its task, numbered over all tasks, int64 `[samples]`.
        unit: Input of each sample; equal inputs have equal numbers, int64 `[samples]`.
        shares: Share of each held-out split, by its number (above 0).
        random: Generator to draw from.

    Returns:
        Split of each sample, int64 `[samples]`; 0, the training split, for all that is not held out.

    Source: Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data": the rarest label first.

    Deviation: one pass over the cells; the source counts again after every sample.

    Example:
        >>> cell, unit = np.repeat([0, 1], 10), np.arange(20)
        >>> split = deal(cell, unit, {1: 0.1, 2: 0.2}, np.random.default_rng(0))
        >>> [np.bincount(split[cell == kind]).tolist() for kind in (0, 1)]
        [[7, 1, 2], [7, 1, 2]]
    """
    units, first = _rarest(cell, unit)
    split_of_unit = np.zeros(int(unit.max()) + 1, np.int64)
    for stratum in np.unique(cell[first]):
        members = random.permutation(units[cell[first] == stratum])
        taken = 0
        for split, size in _sizes(len(members), shares).items():
            split_of_unit[members[taken : taken + size]] = split
            taken += size
    return split_of_unit[unit]


def _rarest(cell: Codes, unit: Codes) -> tuple[Codes, Codes]:
    """Return all units, and for each the sample of its rarest cell."""
    order = np.lexsort((np.arange(len(cell)), np.bincount(cell)[cell], unit))
    units, starts = np.unique(unit[order], return_index=True)
    return units, order[starts]


def _sizes(members: int, shares: Mapping[int, float]) -> dict[int, int]:
    """Return the size of each held-out split: at least one, as long as one member stays for training."""
    sizes: dict[int, int] = {}
    for later, (split, share) in zip(range(len(shares) - 1, -1, -1), shares.items(), strict=True):
        left = members - sum(sizes.values()) - 1 - later
        sizes[split] = max(0, min(max(1, round(share * members)), left))
    return sizes
