"""Limitless routing with a known answer: a frozen pool of modules, and one right network per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from mtl_gym.core.classification import FinalReward
from mtl_gym.core.instances import GeneratedOptions, secret
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.nn.frozen import FrozenLinear, alike
from mtl_gym.core.nn.shapes import Shape
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import SIZES, Range
from mtl_gym.core.rows import Rows
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.answered import answered
from mtl_gym.families.limitless import execution
from mtl_gym.families.limitless.construction import Construction
from mtl_gym.families.limitless.env import LimitlessVectorEnv
from mtl_gym.families.limitless.options import LimitlessOptions
from mtl_gym.families.limitless.pool import ModulePool, PoolLayout, PoolModule

NAME = "limitless-paths"


@dataclass(frozen=True, kw_only=True)
class PathsOptions(LimitlessOptions, GeneratedOptions):
    """Keyword arguments of `PathsVectorEnv`, besides those of `LimitlessOptions`.

    Attributes:
        tasks: Number of tasks, each with a right network.
        classes: Number of classes of every task, at most `hidden`.
        partial_credit: Share of each module that all modules of its kind have in common. The larger it is, the more a
            network that is partly right answers like the right one.

    Data and pool are generated: `data` is "limitless-paths", `network` is None, and `image_shape` is the shape of the
    generated inputs. A masked choice is replaced by the nearest valid one, so that algorithms without masks compare.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        "tasks": SIZES,
        "classes": Range(2, 10_000),
        "partial_credit": Range(0, 1, "most"),
    }

    data: str | MultiTaskDataset = NAME
    tasks: int = 4
    classes: int = 4
    partial_credit: float = 0.5
    image_shape: Sequence[int] | None = (1, 4, 4)
    duplicates: int = 2
    filters: int = 2
    hidden: int = 16
    bonus: bool | float = False
    invalid: str = "nearest"
    reward: str | FinalReward = "correct"
    invalid_reward: float = -1.0

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        self._only("pool and data are generated", data=NAME, network=None)
        has_shape = self.image_shape is not None and len(self.image_shape) == 3
        self._require("image_shape", has_shape, "three numbers: channels, height and width of the generated inputs")
        self._require("classes", self.classes <= self.hidden, f"at most hidden={self.hidden}")


class PathsVectorEnv(LimitlessVectorEnv):
    """Batch of `num_envs` networks built from a frozen pool; each task has one right network.

    The pool has `duplicates` modules of each of six kinds: stem (input to maps), map (maps to maps), flatten (maps to
    features), fc (features to features) and heads on maps and on features. A module is a linear map followed by tanh
    (heads: without), of which `partial_credit` is common to its kind. The label of an input is the answer of the right
    network of its task, which has `max_depth` modules. Nothing trains: the agent alone learns. Spaces are those of
    `LimitlessVectorEnv`.

    * Observation: `image` float32 [num_envs, *shape] in [0, 1]; `task` int64 [num_envs]; `chosen` int64
      [num_envs, max_depth]; `depth` int64 [num_envs].
    * Action: int64 [num_envs], the next module, or PASS, which no right network has.
    * Reward: float32 [num_envs]: 0, and with the head +1 for the label, -1 for another class.
    * Termination: with a head. A masked choice becomes the next valid one (`invalid="nearest"`).
    * Dials: `max_depth` (longer networks), `duplicates` (more modules of each kind), `tasks` (fewer episodes of each),
      `partial_credit` (less: no hint from a network that is partly right). `instance` draws other modules and networks.
    * Optimum: 100% with the right networks, by construction. `best_actions` returns their modules.

    Example:
        >>> env = PathsVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> for _ in range(env.max_depth):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> bool(terminated.all()), reward.mean(), env.updates
        (True, np.float32(1.0), 0)
    """

    Options: ClassVar[type[EnvOptions]] = PathsOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = LimitlessVectorEnv.INTERFACES | {ORACLE}
    options: PathsOptions

    @property
    def paths(self) -> Rows:
        """Modules of the right network of each task, padded with -1; int64 [tasks, max_depth]."""
        return self._paths.copy()

    def best_actions(self) -> Rows:
        """Return the next module of every row's right network; int64 [num_envs].

        In a network with a wrong module, it is the first module of the right network that is valid, or else the first
        valid choice.
        """
        self._require_reset("best_actions()")
        return np.where(self._masks(), self._urgency[self._tasks()], -1).argmax(1)

    def _load_data(self) -> MultiTaskDataset:
        options, random = self.options, secret(NAME, self.options.instance)
        self._frozen = frozen_pool(options, random)
        self._paths = right_networks(self._frozen.layout, options.max_depth, options.tasks, random)
        self._urgency = _urgency(self._paths, len(self._frozen))

        def answer(x: Tensor, task: Rows) -> Tensor:
            return execution.run(self._frozen, x, self._paths[task])

        return answered(NAME, options.tasks, self._frozen.input_shape, answer, random)

    def _make_template(self) -> ModulePool:
        return self._frozen

    def _make_pool(self) -> ModulePool:
        return self._frozen


def frozen_pool(options: PathsOptions, random: np.random.Generator) -> ModulePool:
    """Return a pool of frozen modules of six kinds, kind by kind."""
    image, flat, logits = tuple(options.image_shape or ()), (options.hidden,), (options.classes,)
    maps = (options.filters, *image[1:])
    kinds = {
        "stem": (image, maps),
        "map": (maps, maps),
        "flatten": (maps, flat),
        "fc": (flat, flat),
        "head on maps": (maps, logits),
        "head": (flat, logits),
    }
    modules = []
    for name, (takes, gives) in kinds.items():
        weights = alike(options.duplicates, prod(gives), prod(takes), options.partial_credit, random)
        modules += [_module(f"{name} {copy}", weight, takes, gives) for copy, weight in enumerate(weights)]
    return ModulePool(modules, image)


def _module(name: str, weight: Tensor, takes: Shape, gives: Shape) -> PoolModule:
    head = name.startswith("head")
    activation = nn.Identity() if head else nn.Tanh()
    body = nn.Sequential(nn.Flatten(), FrozenLinear(weight), activation, nn.Unflatten(1, gives))
    return PoolModule(body, takes, gives, head, name)


def right_networks(layout: PoolLayout, max_depth: int, tasks: int, random: np.random.Generator) -> Rows:
    """Draw a network per task with `max_depth` modules, or as many as the pool allows; int64 [tasks, max_depth].

    Every module is drawn uniformly from the valid ones that do not end the network early.
    """
    building, rows = Construction(layout, tasks, max_depth), np.arange(tasks)
    ends = np.append(layout.gives[layout.kind] < 0, True)
    while len(rows):
        masks = building.masks()[rows]
        lots = np.where(masks, random.random(masks.shape), -1) - ends  # an end only where nothing else is valid
        lots[:, -1] = -2
        rows = rows[~building.choose(rows, lots.argmax(1))]
    return building.networks.modules


def _urgency(paths: Rows, modules: int) -> Rows:
    """Return the order in which best actions are taken, largest first; int64 [tasks, modules + 1], PASS last."""
    urgency = np.ones((len(paths), modules + 1), np.int64)
    urgency[:, -1] = 0
    tasks, places = np.nonzero(paths >= 0)
    urgency[tasks, paths[tasks, places]] = paths.shape[1] + 1 - places
    return urgency


class PathsEnv(BatchOfOne):
    """Single environment of right networks, as returned by `gym.make("MTLLimitless-Paths-v0")`.

    Args:
        **options: The fields of `PathsOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLLimitless-Paths-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
    """

    vector_class = PathsVectorEnv
