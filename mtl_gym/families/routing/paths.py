"""Routing with a known answer: frozen blocks, and one secret path of blocks per task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from mtl_gym.core.instances import GeneratedOptions, secret
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.nn.frozen import FrozenLinear, alike
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import SIZES, Range
from mtl_gym.core.rows import Rows
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.answered import answered
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
from mtl_gym.families.routing.options import RoutingOptions

NAME = "routing-paths"
BELOW_ONE = Range(0, 1, "most")


@dataclass(frozen=True, kw_only=True)
class PathsOptions(RoutingOptions, GeneratedOptions):
    """Keyword arguments of `PathsVectorEnv`, besides those of `RoutingOptions`.

    Attributes:
        tasks: Number of tasks, each with a secret path.
        classes: Number of classes of every task, at most `hidden`.
        partial_credit: Share of each block that is the identity: blocks are (1 - a) I + a Q with a = 1 -
            `partial_credit`. The larger it is, the more a path that is partly right answers like the secret one.
        noise: Share of the training labels that is replaced by another class. Validation and test labels are clean.

    Data and network are generated: `data` is "routing-paths", and `network`, `dispatch`, `mixture` and `layering` keep
    their defaults.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        "tasks": SIZES,
        "classes": Range(2, 10_000),
        **dict.fromkeys(("partial_credit", "noise"), BELOW_ONE),
    }

    data: str | MultiTaskDataset = NAME
    tasks: int = 8
    depth: int = 3
    blocks: int | None = 4
    hidden: int = 16
    classes: int = 4
    partial_credit: float = 0.5
    noise: float = 0.0
    rho: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        self._only("network and data are generated", data=NAME, network=None)
        self._only("each task chooses blocks, and each depth has its own", dispatch=None, mixture=False, layering=True)
        self._require("classes", self.classes <= self.hidden, f"at most hidden={self.hidden}")


class PathsVectorEnv(RoutingVectorEnv):
    """Batch of `num_envs` routes through frozen blocks; each task has a secret path that answers all its inputs.

    A block is (1 - a) I + a Q with an orthogonal Q of its own and a = 1 - `partial_credit`; between layers there is a
    tanh, and the first `classes` values of the last layer are the logits. The label of an input is the answer along the
    secret path of its task. Nothing trains: the agent alone learns. Spaces are those of `RoutingVectorEnv`.

    * Observation: `value` float32 [num_envs, hidden]; `task` int64 [num_envs]; `depth` int64 [num_envs].
    * Action: int64 [num_envs], the next block, or PASS, which no secret path has.
    * Reward: float32 [num_envs]: 0, and with the last block +1 for the label, -1 for another class.
    * Termination: after `depth` decisions.
    * Dials: `depth` and `blocks` (more paths), `tasks` (fewer episodes of each), `partial_credit` (less: no hint from a
      path that is partly right), `noise` (wrong rewards). `instance` draws other blocks, paths and data.
    * Optimum: 100% along the secret paths, by construction. `best_actions` returns their blocks.

    Example:
        >>> env = PathsVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> for _ in range(3):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> bool(terminated.all()), reward.mean(), env.updates
        (True, np.float32(1.0), 0)
    """

    Options: ClassVar[type[EnvOptions]] = PathsOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = RoutingVectorEnv.INTERFACES | {ORACLE}
    options: PathsOptions

    @property
    def paths(self) -> Rows:
        """Secret block of each task at each depth; int64 [tasks, depth]."""
        return self._paths.copy()

    def best_actions(self) -> Rows:
        """Return the next block of every row's secret path; int64 [num_envs]."""
        self._require_reset("best_actions()")
        return self._paths[self._tasks(), self._routes.now]

    def _load_data(self) -> MultiTaskDataset:
        options, random = self.options, secret(NAME, self.options.instance)
        blocks = options.blocks or options.tasks
        self._paths = random.integers(blocks, size=(options.tasks, options.depth))
        self._frozen = frozen_network(options, random)

        def answer(x: Tensor, task: Rows) -> Tensor:
            return self._frozen(x, self._paths[task])

        return answered(NAME, options.tasks, (options.hidden,), answer, random, options.noise)

    def _make_network(self) -> RoutedNetwork:
        return self._frozen


def frozen_network(options: PathsOptions, random: np.random.Generator) -> RoutedNetwork:
    """Return a network of frozen blocks, with a tanh after every layer but the last."""
    blocks, widths = options.blocks or options.tasks, [options.hidden] * options.depth + [options.classes]
    weights = [alike(blocks, outputs, inputs, options.partial_credit, random) for inputs, outputs in pairwise(widths)]
    activations = [nn.Tanh()] * (options.depth - 1) + [None]
    layers = [
        RoutedLayer([FrozenLinear(weight) for weight in own], own.shape[2:], activation)
        for own, activation in zip(weights, activations, strict=True)
    ]
    return RoutedNetwork(None, layers, (options.hidden,))


class PathsEnv(BatchOfOne):
    """Single environment of secret paths, as returned by `gym.make("MTLRouting-Paths-v0")`.

    Args:
        **options: The fields of `PathsOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Paths-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
    """

    vector_class = PathsVectorEnv
