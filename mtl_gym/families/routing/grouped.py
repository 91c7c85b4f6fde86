"""Routing with hidden groups of tasks: tasks of one group agree, tasks of two groups contradict each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from mtl_gym.core.instances import GeneratedOptions
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import COUNTS, SIZES, Range
from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.families.routing.layers import with_mixtures
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
from mtl_gym.families.routing.options import RoutingOptions

PER_GROUP, PER_TASK = "per-group", "per-task"


@dataclass(frozen=True)
class Grouped:
    """Data set whose tasks fall into hidden groups.

    Attributes:
        data: The data set.
        groups: Group of each task; int64 [tasks], read-only, because environments share it.
    """

    data: MultiTaskDataset
    groups: Rows

    def __post_init__(self) -> None:
        """Make the groups read-only."""
        self.groups.setflags(write=False)


@dataclass(frozen=True, kw_only=True)
class GroupedOptions(RoutingOptions, GeneratedOptions):
    """Keyword arguments of the environments with hidden groups, besides those of `RoutingOptions`.

    A subclass sets `NAME`, the name of its data set, and with it the default of `data`.

    Attributes:
        tasks: Number of tasks, at least twice that of the groups.
        groups: Number of hidden groups; more of them leave fewer tasks to share a block with.
        samples: Training samples per task; fewer of them make sharing more valuable.
        blocks: Number of blocks per routed layer, at least one per group; "per-group" for one each, "per-task" or None
            for one per task.

    `network`, `dispatch` and `layering` keep their defaults, and `data` is that of the environment.
    """

    NAME: ClassVar[str]

    RANGES: ClassVar[Mapping[str, Range]] = {"tasks": SIZES, "groups": Range(2, 10), "samples": COUNTS}
    BLOCKS: ClassVar[tuple[str, ...]] = (PER_GROUP, PER_TASK)

    tasks: int = 12
    groups: int = 3
    samples: int = 40
    blocks: int | str | None = PER_GROUP
    depth: int = 1
    hidden: int = 32
    rho: float = 0.0
    lr_decay: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        self._only("the best routes are known for these data and this network", data=self.NAME, network=None)
        self._only("each task chooses blocks, and each depth has its own", dispatch=None, layering=True)
        self._require("groups", 2 * self.groups <= self.tasks, f"at most half of the {self.tasks} tasks")
        few = isinstance(self.blocks, int) and self.blocks < self.groups
        self._require("blocks", not few, f"at least one block for each of the {self.groups} groups")


class GroupedVectorEnv(RoutingVectorEnv):
    """Batch of routes through a network whose tasks fall into hidden groups; see the subclasses.

    A subclass implements `_draw_truth`.

    Attributes:
        groups: Hidden group of each task; int64 [tasks].
    """

    Options: ClassVar[type[EnvOptions]] = GroupedOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = RoutingVectorEnv.INTERFACES | {ORACLE}
    options: GroupedOptions
    groups: Rows

    @abstractmethod
    def _draw_truth(self) -> Grouped:
        """Return the data set and the groups of its tasks."""

    def _load_data(self) -> MultiTaskDataset:
        truth = self._draw_truth()
        self.groups = truth.groups
        return truth.data

    def _make_network(self) -> RoutedNetwork:
        options, data = self.options, self.data
        named = {PER_GROUP: options.groups, PER_TASK: options.tasks, None: options.tasks}
        blocks = options.blocks if isinstance(options.blocks, int) else named[options.blocks]
        network = perceptrons(data.input_shape[0], data.max_classes, blocks, options.depth, options.hidden)
        return with_mixtures(network, options.tasks) if options.mixture else network

    def best_actions(self) -> Rows:
        """Return the block, or the mixture, of the group of every row's task; int64 [num_envs]."""
        self._require_reset("best_actions()")
        return self.groups[self._tasks()]


def perceptrons(inputs: int, classes: int, blocks: int, depth: int, hidden: int) -> RoutedNetwork:
    """Build a network whose last layer has perceptrons with one hidden layer as blocks, and earlier ones linear blocks.

    Args:
        inputs: Number of features of an input.
        classes: Number of logits.
        blocks: Number of blocks in each routed layer.
        depth: Number of routed layers.
        hidden: Width of all hidden layers.

    Example:
        >>> network = perceptrons(64, 10, blocks=3, depth=1, hidden=32)
        >>> network.depth, network.num_blocks, network.classes
        (1, 3, 10)
    """
    widths = [inputs] + [hidden] * (depth - 1)
    earlier = [[nn.Linear(before, hidden) for _ in range(blocks)] for before in widths[:-1]]
    last = [nn.Sequential(nn.Linear(widths[-1], hidden), nn.ReLU(), nn.Linear(hidden, classes)) for _ in range(blocks)]
    layers = [RoutedLayer(own, activation=nn.ReLU()) for own in earlier]
    return RoutedNetwork(None, [*layers, RoutedLayer(last, in_shape=(widths[-1],))], (inputs,))


def draw_groups(tasks: int, groups: int, random: np.random.Generator) -> Rows:
    """Draw groups of equal size (within one task) that no simple rule tells: neither in a row nor one after another.

    Args:
        tasks: Number of tasks, at least twice that of the groups.
        groups: Number of groups.
        random: Generator to draw from.

    Returns:
        Group of each task; int64 [tasks].

    Example:
        >>> sorted(draw_groups(4, 2, np.random.default_rng(0)).tolist())
        [0, 0, 1, 1]
    """
    dealt = np.arange(tasks) % groups
    while True:
        drawn = random.permutation(dealt)
        in_a_row = np.count_nonzero(np.diff(drawn)) == groups - 1
        if not in_a_row and not same_partition(drawn, dealt):
            return drawn


def same_partition(first: Rows, second: Rows) -> bool:
    """Return whether two assignments put the same tasks together, whatever the numbers of the groups; int64 [tasks].

    Example:
        >>> same_partition(np.array([0, 1, 0]), np.array([2, 0, 2])), same_partition(np.arange(3), np.zeros(3, int))
        (True, False)
    """
    return bool(((first[:, None] == first) == (second[:, None] == second)).all())
