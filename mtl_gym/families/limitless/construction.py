"""Networks under construction: the chosen modules of each row and its valid next choices.

Source: LRN, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_gym.core.rows import Flags, Rows, State
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.structure import Numbers
from mtl_gym.families.limitless.pool import PoolLayout


@dataclass
class Networks:
    """Partial networks of all rows.

    Attributes:
        modules: Chosen modules in order, padded with -1; int64 [rows, max_depth].
        length: Number of chosen modules; int64 [rows].
        depth: Number of decisions made; int64 [rows].
    """

    modules: Rows
    length: Rows
    depth: Rows

    @classmethod
    def none(cls, rows: int, max_depth: int) -> Networks:
        """Return empty networks."""
        return cls(np.full((rows, max_depth), -1), np.zeros(rows, np.int64), np.zeros(rows, np.int64))


class Construction:
    """Construction of `rows` networks, module by module in at most `max_depth` decisions.

    A module is a valid choice if it is unused, takes the output shape of the last module, and either is a head or
    keeps a head within reach of the remaining decisions. PASS uses up a decision; it is valid after the first module,
    as long as a head stays within reach.

    Args:
        layout: Layout of the pool.
        rows: Number of networks.
        max_depth: Maximum number of decisions per network, including PASS.

    Attributes:
        networks: Partial networks.

    Raises:
        ValueError: If no network of at most `max_depth` modules ends in a head.

    Example:
        >>> layout = PoolLayout(np.array([0, 1]), takes=np.array([0, 1]), gives=np.array([1, -1]), shapes=2)
        >>> building = Construction(layout, rows=1, max_depth=3)
        >>> building.choose(np.array([0]), np.array([0])), building.masks()
        (array([False]), array([[False,  True,  True]]))
    """

    def __init__(self, layout: PoolLayout, rows: int, max_depth: int) -> None:
        if max_depth < layout.whole[0]:
            raise ValueError(
                f"max_depth={max_depth} is too small: the shortest network of this pool has {layout.whole[0]} modules; "
                f"use {layout.whole[0]} or more."
            )
        self.layout, self.max_depth = layout, max_depth
        self.networks = Networks.none(rows, max_depth)
        self.pass_number = len(layout.kind)
        self._refresh()

    def _refresh(self) -> None:
        """Recompute shapes and used modules from the networks."""
        modules, length = self.networks.modules, self.networks.length
        rows, used = np.arange(len(modules)), np.zeros((len(modules), self.pass_number + 1), bool)
        used[rows[:, None], modules] = True  # the spare column absorbs the padding (-1)
        self._used = used[:, :-1]
        last = modules[rows, np.maximum(length - 1, 0)]
        self._shape = np.where(length > 0, self.layout.gives[self.layout.kind[last]], 0)
        self._left = self.layout.sizes - self._used @ np.eye(len(self.layout.takes), dtype=np.int64)[self.layout.kind]
        self._masks: Flags | None = None

    def begin(self, rows: Rows) -> None:
        """Reset the networks of `rows`; int64 [n]."""
        networks = self.networks
        networks.modules[rows], networks.length[rows], networks.depth[rows], self._shape[rows] = -1, 0, 0, 0
        self._used[rows], self._left[rows] = False, self.layout.sizes
        self._masks = None

    def masks(self) -> Flags:
        """Return the valid choices, all False for finished networks; bool [rows, modules + 1], PASS last."""
        if self._masks is None:
            self._masks = self._valid()
        return self._masks.copy()

    def _valid(self) -> Flags:
        layout, later = self.layout, self.max_depth - self.networks.depth - 1
        far = self._distances()
        after = np.where(layout.gives < 0, 0, far[:, layout.gives])
        kinds = (layout.takes == self._shape[:, None]) & (after <= later[:, None])
        here = far[np.arange(len(far)), np.maximum(self._shape, 0)]
        may_pass = (self.networks.length > 0) & (self._shape >= 0) & (here <= later)
        return np.concatenate([kinds[:, layout.kind] & ~self._used, may_pass[:, None]], axis=1)

    def _distances(self) -> Rows:
        left = self._left > 0
        far = np.tile(self.layout.whole, (len(left), 1))
        scarce = np.flatnonzero(~left.all(1))
        if len(scarce):
            far[scarce] = self.layout.distances(left[scarce])
        return far

    def choose(self, rows: Rows, choices: Rows) -> Flags:
        """Apply valid choices of `rows`; int64 [n] each.

        Returns:
            Mask of networks that now end in a head; bool [n].
        """
        building = choices < self.pass_number
        builders, modules = rows[building], choices[building]
        self.networks.modules[builders, self.networks.length[builders]] = modules
        self.networks.length[builders] += 1
        self.networks.depth[rows] += 1
        kind = self.layout.kind[modules]
        self._used[builders, modules] = True
        self._left[builders, kind] -= 1
        self._shape[builders] = self.layout.gives[kind]
        self._masks = None
        return self._shape[rows] < 0

    def state(self) -> State:
        """Return the networks as tensors."""
        return tensors_of(self.networks)

    def model(self) -> State:
        """Return the model of `state`."""
        networks = self.state()
        return {
            "modules": Numbers(networks["modules"], -1, self.pass_number - 1),
            "length": Numbers(networks["length"], 0, self.max_depth),
            "depth": Numbers(networks["depth"], 0, self.max_depth - 1),
        }

    def load(self, state: State) -> None:
        """Restore `state`."""
        self.networks = arrays_of(Networks, state)
        self._refresh()


def random_routes(layout: PoolLayout, max_depth: int, count: int, random: np.random.Generator) -> Rows:
    """Draw decisions of `count` networks, each uniformly from the valid choices; int64 [count, max_depth].

    Entries after the head are PASS.
    """
    building = Construction(layout, count, max_depth)
    routes = np.full((count, max_depth), building.pass_number)
    rows = np.arange(count)
    for depth in range(max_depth):
        masks = building.masks()[rows]
        routes[rows, depth] = np.where(masks, random.random(masks.shape), -1).argmax(1)
        rows = rows[~building.choose(rows, routes[rows, depth])]
    return routes
