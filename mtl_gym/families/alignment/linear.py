"""Alignment of generated linear regressions in hidden groups, in runs short enough for reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from mtl_gym.core.instances import GeneratedOptions, secret
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.measure import Measure
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import NOT_NEGATIVE, Range
from mtl_gym.core.rows import AnySpace, Array, Flags
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import TaskCollection, TaskData
from mtl_gym.families.alignment.env import AlignmentVectorEnv
from mtl_gym.families.alignment.joint import Index
from mtl_gym.families.alignment.observation import spaces_of
from mtl_gym.families.alignment.options import AlignmentOptions
from mtl_gym.families.alignment.regressions import RegressionTraining
from mtl_gym.families.alignment.training import JointTraining

NAME = "grouped-regressions"
GROUPS, TASKS_PER_GROUP, INPUTS = 3, 10, 20
TASKS = GROUPS * TASKS_PER_GROUP
# Samples of each task.
ROWS = {"train": 10, "validation": 50, "test": 50}
# Smallest and largest standard deviation of a task's targets without noise.
TARGETS = (0.75, 1.25)
# Standard deviation of initial modules; all contexts begin at 1.
WEIGHTS = 0.1
# Tasks of each group that begin at each of the first three modules, with three modules and `start="cyclic"`.
STARTS = (6, 2, 2)
ACTIONS = ("all", "one")
RMSE = Measure("RMSE", higher=False)


@dataclass(frozen=True, kw_only=True)
class LinearOptions(AlignmentOptions, GeneratedOptions):
    """Keyword arguments of `LinearVectorEnv`, besides those of `AlignmentOptions`.

    Attributes:
        action: "all" names challengers for all locations in a generation, "one" a challenger for one location, which
            the observation tells.
        noise: Standard deviation of the noise on all targets.

    Data and network are generated: `data` is "grouped-regressions", and `tasks`, `network`, `block`, `context`,
    `adapter`, `decomposition` and `minibatch` keep their defaults.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"noise": NOT_NEGATIVE}

    data: str | TaskCollection = NAME
    action: str = "all"
    noise: float = 0.0
    block: tuple[int, int] = (INPUTS, 1)
    context: int = 1
    start: str | Sequence[int] = "cyclic"
    iterations: int = 20
    generations: int = 30
    final_generations: int = 0
    learning_rate: float = 0.03
    score_learning_rate: float = 0.1

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        fixed = "data and network are generated"
        self._only(fixed, data=NAME, tasks=None, network=None, minibatch=None, context=1, adapter=0)
        self._require("block", tuple(self.block) == (INPUTS, 1), f"({INPUTS}, 1) only: {fixed}")
        self._only("a task is one location", decomposition="location")
        self._require("action", self.action in ACTIONS, f"one of {ACTIONS}")
        alone = self.action == "all" or self.challengers == 1
        self._require("challengers", alone, "1 with action='one', which names one challenger")


class LinearVectorEnv(AlignmentVectorEnv):
    """`num_envs` training runs of thirty linear regressions in three hidden groups.

    Every regression has 20 inputs and 10 training samples, too few to fit it alone. In a group, weight vectors differ
    only by a factor, so that one module with a context per task fits all ten. A location is the weight vector of a
    task. Runs, generations and the competition of modules are those of `AlignmentVectorEnv`.

    * Observation: as in `AlignmentVectorEnv`, with `train_loss` (float32 [num_envs, 30]) and `left` (float32
      [num_envs, 1]: share of the run left); with `action="one"` also `location` (int64 [num_envs]: the location that is
      challenged next).
    * Action: with `action="all"` as in `AlignmentVectorEnv`; with `action="one"` int64 [num_envs] in [0, K]: the
      challenger of the current location, K for none. Locations take turns in the order of their numbers. Every decision
      is followed by one generation.
    * Reward: float32 [num_envs]: decrease of the relative loss on held-out validation samples.
    * Truncation: after `generations` decisions. Episodes never terminate.
    * Dials: `noise` (samples tell less about the groups), `modules` (more wrong choices), `generations` (longer runs).
      `instance` draws other groups and data of the same difficulty.
    * Optimum: one module per group, so that 100 samples fit 20 weights. `best_actions` proposes it. Without noise, the
      RMSE then goes to 0; without sharing, 10 samples leave half of the directions open.

    Evaluation views train runs of their own, in which the policy acts.

    Modules begin with normal weights of standard deviation 0.1 and contexts with 1, so that initial errors are nearly
    equal in all runs. With `start="cyclic"` task i begins at module i modulo K; with three modules, 6 of the 10 tasks
    of each are of one group.

    Example:
        >>> env = LinearVectorEnv(num_envs=2, modules=3, action="one")
        >>> obs, info = env.reset(seed=0)
        >>> env.single_action_space, obs["location"].tolist(), obs["assignment"][0, :5].tolist()
        (Discrete(4), [0, 0], [0, 1, 2, 0, 1])
        >>> obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> obs["location"].tolist(), obs["left"].shape
        ([1, 1], (2, 1))
    """

    Options: ClassVar[type[EnvOptions]] = LinearOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = AlignmentVectorEnv.INTERFACES | {ORACLE}
    TRAINING: ClassVar[type[JointTraining]] = RegressionTraining
    VIEWS_TRAIN: ClassVar[bool] = True
    MEASURE: ClassVar[Measure] = RMSE
    options: LinearOptions

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self._set_spaces(*self._own_spaces())

    def _own_spaces(self) -> tuple[spaces.Dict, AnySpace]:
        """Return the observation and action space of one run."""
        seen, action = spaces_of(self.network, self.options.challengers)
        more: dict[str, AnySpace] = {
            "train_loss": spaces.Box(0, np.inf, (TASKS,), np.float32),
            "left": spaces.Box(0, 1, (1,), np.float32),
        }
        if not self._by_turns:
            return spaces.Dict({**seen.spaces, **more}), action
        more["location"] = spaces.Discrete(TASKS)
        return spaces.Dict({**seen.spaces, **more}), spaces.Discrete(self.network.num_modules + 1)

    @property
    def _by_turns(self) -> bool:
        return self.options.action == "one"

    @property
    def location(self) -> int:
        """Location that the next decision challenges with `action="one"`."""
        return self._step % TASKS

    def figure(self, accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
        """Return the root of each task's mean squared error over runs, mean over tasks."""
        return float(np.sqrt(loss).mean())

    def _load_data(self) -> TaskCollection:
        return regressions(self.options.noise, self.options.instance)

    def _renew_runs(self) -> None:
        """Draw the modules of each run from its seed."""
        modules, generator, seeds = self.network.hypermodules, torch.Generator(), self.run_seeds.tolist()
        drawn = [torch.randn(modules.shape[1:], generator=generator.manual_seed(seed)) for seed in seeds]
        with torch.no_grad():
            modules.copy_(WEIGHTS * torch.stack(drawn))
            self.network.contexts.fill_(1)
            self.network.assignment[:] = torch.from_numpy(self.start)

    def _observe(self) -> dict[str, Array]:
        left = np.full((self.num_envs, 1), 1 - self._step / self.run_length, np.float32)
        seen = {**super()._observe(), "train_loss": self._progress.train_loss.copy(), "left": left}
        return {**seen, "location": np.full(self.num_envs, self.location)} if self._by_turns else seen

    def _masks(self) -> Flags:
        if not self._by_turns:
            return super()._masks()
        return np.ones((self.num_envs, self.network.num_modules + 1), bool)

    def _compete(self, challengers: Index) -> None:
        super()._compete(self._at_location(challengers) if self._by_turns else challengers)

    def _challenged(self, action: Array) -> Flags:
        if not self._by_turns:
            return super()._challenged(action)
        proposed = np.zeros(TASKS, bool)
        proposed[(self._decisions - 1) % TASKS] = action < self.network.num_modules
        return proposed

    def _at_location(self, challengers: Index) -> Index:
        """Return challengers of all locations, none but for the current one; int64 [num_envs] -> [num_envs, 30]."""
        whole = np.full((self.num_envs, TASKS), self.network.num_modules)
        whole[:, self.location] = challengers
        return whole

    def best_actions(self) -> Array:
        """Return for each location the module of its group; no challenger where it has that module.

        The module of a group is the one that most of its locations have and that no earlier group has.
        """
        self._require_reset("best_actions()")
        wanted = self._modules_of_groups()[:, np.array(self.data.groups)]
        best = np.where(wanted == self.assignment, self.network.num_modules, wanted)
        return best[:, self.location] if self._by_turns else best.repeat(self.options.challengers, 1)

    def _modules_of_groups(self) -> Index:
        """Return the module of each group; int64 [num_envs, groups]."""
        rows = np.arange(self.num_envs)
        counts = np.zeros((self.num_envs, GROUPS, self.network.num_modules), np.int64)
        np.add.at(counts, (rows[:, None], np.array(self.data.groups), self.assignment), 1)
        chosen = np.zeros((self.num_envs, GROUPS), np.int64)
        for group in range(GROUPS):
            chosen[:, group] = counts[:, group].argmax(1)
            counts[rows, :, chosen[:, group]] = -1
        return chosen


class LinearEnv(BatchOfOne):
    """A single training run; the result of `gym.make("MTLAlignment-Linear-v1")`.

    Args:
        **options: Fields of `LinearOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLAlignment-LinearDiscrete-v1")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
    """

    vector_class = LinearVectorEnv


@lru_cache(maxsize=16)
def regressions(noise: float, instance: int) -> TaskCollection:
    """Generate the regressions of an instance.

    Inputs are uniform in [-1, 1]. Each group has one direction; the directions are orthogonal and otherwise uniformly
    distributed. The standard deviations of a group's targets are evenly spaced between 0.75 and 1.25, in random order.
    Of the tasks that begin at each of three modules, 6 are of one group and 2 of each other one; which ones is random.
    The noise is normal; other values of `noise` scale the same draws.
    """
    random = secret(NAME, instance)
    groups = _groups(random)
    directions = np.linalg.qr(random.standard_normal((INPUTS, GROUPS)))[0].T
    sizes = np.zeros(TASKS)
    for group in range(GROUPS):
        sizes[groups == group] = random.permutation(np.linspace(*TARGETS, TASKS_PER_GROUP))
    weights = 3**0.5 * sizes[:, None] * directions[groups]  # inputs have a variance of 1 / 3
    tasks = [_task(number, weights[number], noise, random) for number in range(TASKS)]
    return TaskCollection(NAME, tasks, tuple(groups.tolist()))


def _groups(random: np.random.Generator) -> Index:
    """Draw the group of each task, with `STARTS` tasks of each group at each of the first three modules."""
    groups = np.zeros(TASKS, np.int64)
    for module in range(GROUPS):
        members = np.repeat((module + np.arange(GROUPS)) % GROUPS, STARTS)
        groups[module::GROUPS] = random.permutation(members)
    return groups


def _task(number: int, weights: NDArray[np.float64], noise: float, random: np.random.Generator) -> TaskData:
    splits = {split: _samples(rows, weights, noise, random) for split, rows in ROWS.items()}
    return TaskData(f"task {number}", "regression", splits, 1)


def _samples(
    rows: int, weights: NDArray[np.float64], noise: float, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    x = random.uniform(-1, 1, (rows, INPUTS))
    y = x @ weights + noise * random.standard_normal(rows)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))[:, None]
