"""Routing by what the input says: a noisy context inside each input tells which of several rules holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.instances import GeneratedOptions, secret
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import Range
from mtl_gym.core.rows import Rows
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.families.routing.options import RoutingOptions

NAME = "routing-context"
# Numbers of an input that tell the context, and numbers that the rule is about.
CONTEXT, CONTENT = 8, 4
# Rows of each task.
ROWS = {"train": 4000, "validation": 250, "test": 1000}

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ContextOptions(RoutingOptions, GeneratedOptions):
    """Keyword arguments of `ContextVectorEnv`, besides those of `RoutingOptions`.

    Attributes:
        contexts: Number of contexts, of rules and of tasks; 2, 4, 6 or 8.
        noise: Standard deviation of the noise on the context; the numbers of a context without noise have a mean square
            of 1.
        permuted: If True, the rule of a context is another one in every task. If False, it is the same in all tasks.

    Data and network are generated: `data` is "routing-context", `network`, `depth`, `dispatch` and `mixture` keep their
    defaults, and `blocks` is at least `contexts`.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"contexts": Range(2, CONTEXT), "noise": Range(0, 100)}

    data: str | MultiTaskDataset = NAME
    contexts: int = 4
    noise: float = 1.0
    permuted: bool = False
    depth: int = 1
    rho: float = 0.0
    learning_rate: float = 1e-2
    lr_decay: float = 1.0
    train_batch: int = 64

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        self._only("network and data are generated", data=NAME, network=None)
        self._only("deeper networks need no routes for these rules", depth=1)
        self._only("each task chooses blocks", dispatch=None, mixture=False)
        self._require("contexts", self.contexts % 2 == 0, "an even number: rules come in opposite pairs")
        enough = not isinstance(self.blocks, int) or self.blocks >= self.contexts
        self._require("blocks", enough, f"None or at least contexts={self.contexts}: each rule needs a block")


class ContextVectorEnv(RoutingVectorEnv):
    """Batch of `num_envs` inputs, each routed once, to one of several linear blocks that train during the steps.

    The first 8 numbers of an input are its context: one of `contexts` hidden orthogonal prototypes, with noise. The
    other 4 numbers are normally distributed. The context tells which rule holds, and the label is the side of a hidden
    plane through the 4 numbers. Rules come in opposite pairs: what is right in one context is wrong in another. A
    linear block can learn one rule, but not which one holds.

    * Observation: `value` float32 [num_envs, 12], the input; `task` int64 [num_envs]; `depth` int64 [num_envs], 0.
    * Action: int64 [num_envs] in [0, `blocks`), the block that answers; the last action, PASS, is always masked.
    * Reward: float32 [num_envs]: +1 for a right answer, -1 for a wrong one.
    * Termination: after one decision. After `train_batch` episodes, one gradient step updates the blocks.
    * Dials: `noise` (contexts are mistaken for each other), `contexts` (more rules to tell apart), `permuted` (the same
      context asks for another rule in each task). `instance` draws other prototypes, rules and data.
    * Optimum: one block per rule and, for each input, the rule of the nearest prototype, which is the most likely one.
      `best_actions` returns it. With blocks that know their rule exactly it reaches the Bayes rate; trained blocks lose
      a little, which a router that also looks at the content may win back. Every choice that ignores the context leaves
      the answer at chance, 50%.

    Example:
        >>> env = ContextVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> obs["value"].shape, env.best_actions()[:8].tolist()
        ((64, 12), [3, 3, 0, 2, 2, 0, 0, 0])
        >>> for _ in range(200):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> bool(terminated.all()), env.updates
        (True, 200)
    """

    Options: ClassVar[type[EnvOptions]] = ContextOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = RoutingVectorEnv.INTERFACES | {ORACLE}
    options: ContextOptions

    def best_actions(self) -> Rows:
        """Return the block of the rule that most likely holds for every row; int64 [num_envs]."""
        self._require_reset("best_actions()")
        return self._best[self._sample]

    def _load_data(self) -> MultiTaskDataset:
        options = self.options
        problem = contextual(options.contexts, options.noise, options.permuted, options.instance)
        self._best = problem.best[options.split]
        return problem.data


class ContextEnv(BatchOfOne):
    """Single environment of routing by context, as returned by `gym.make("MTLRouting-Context-v0")`.

    Args:
        **options: The fields of `ContextOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Context-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
        >>> terminated
        True
    """

    vector_class = ContextVectorEnv


@dataclass(frozen=True)
class Contextual:
    """Generated data set with its best routes.

    Attributes:
        data: The data set.
        best: Rule that most likely holds for each row of each split; int64 [rows].
    """

    data: MultiTaskDataset
    best: Mapping[str, Rows]


@lru_cache(maxsize=16)
def contextual(contexts: int, noise: float, permuted: bool, instance: int) -> Contextual:
    """Generate the data set; arguments as in `ContextOptions`."""
    random = secret(NAME, instance)
    truth = Truth.draw(contexts, permuted, random)
    rows = {split: truth.rows(each, noise, random) for split, each in ROWS.items()}
    names = tuple(f"task {task}" for task in range(contexts))
    data = MultiTaskDataset(NAME, {split: one for split, (one, _) in rows.items()}, names, (("no", "yes"),) * contexts)
    return Contextual(data, {split: best for split, (_, best) in rows.items()})


@dataclass(frozen=True)
class Truth:
    """Hidden truth of an instance.

    Attributes:
        prototypes: Contexts without noise; float64 [contexts, 8].
        planes: Normal of the plane of each rule; float64 [rules, 4]. Rules 2i and 2i + 1 are opposite.
        rules: Rule of each context in each task; int64 [tasks, contexts].
    """

    prototypes: Values
    planes: Values
    rules: Rows

    @classmethod
    def draw(cls, contexts: int, permuted: bool, random: np.random.Generator) -> Truth:
        """Draw a truth; arguments as in `ContextOptions`."""
        prototypes = _orthogonal(CONTEXT, random)[:contexts] * np.sqrt(CONTEXT)
        normals = _orthogonal(CONTENT, random)[: contexts // 2]
        planes = np.stack([normals, -normals], 1).reshape(contexts, CONTENT)
        every = np.arange(contexts)
        return cls(prototypes, planes, (every[:, None] * permuted + every) % contexts)

    def rows(self, each: int, noise: float, random: np.random.Generator) -> tuple[Split, Rows]:
        """Return `each` rows of every task, with the rule that most likely holds for each row; int64 [rows]."""
        task = np.repeat(np.arange(len(self.rules)), each)
        context = np.tile(np.arange(each) % len(self.prototypes), len(self.rules))
        told = self.prototypes[context] + noise * random.standard_normal((len(task), CONTEXT))
        content = random.standard_normal((len(task), CONTENT))
        label = (content * self.planes[self.rules[task, context]]).sum(1) > 0
        parts = np.concatenate([told, content], 1), task, label.astype(np.int64)
        return Split(*map(torch.from_numpy, parts)), self.rules[task, nearest(told, self.prototypes)]


def nearest(points: Values, prototypes: Values) -> Rows:
    """Return the nearest of some prototypes of equal length; float64 [rows, n] and [prototypes, n] -> int64 [rows].

    Example:
        >>> nearest(np.array([[0.9, 0.2], [0.1, 2.0]]), np.eye(2))
        array([0, 1])
    """
    return (points @ prototypes.T).argmax(1)  # the nearest of equal length has the largest product


def _orthogonal(size: int, random: np.random.Generator) -> Values:
    """Return a uniformly distributed orthogonal matrix; float64 [size, size]."""
    q, r = np.linalg.qr(random.standard_normal((size, size)))
    return q * np.sign(np.diag(r))
