"""Scheduling with a known order: one task must be learned before another, and the others are a waste.

Source: the tasks of `examples/learned_schedule.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import Range
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.known import KnownOptions, KnownScheduleVectorEnv
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.prerequisites_data import INPUTS, NAME, PARITY, PATTERN, prerequisites

HIDDEN = 16
# Best schedule of the search (benchmarks/optima), in equal parts of a run: 0 is pattern, 1 parity.
BEST = (0, 0, 0, 1, 0, 1, 1, 0)


@dataclass(frozen=True, kw_only=True)
class PrerequisitesOptions(KnownOptions):
    """Keyword arguments of `PrerequisitesVectorEnv`, besides those of `SchedulingOptions`.

    Attributes:
        parity_samples: Training samples of the task parity: the fewer, the more it needs its prerequisite.
        noise_tasks: Number of tasks with random labels.

    Data are generated: `data` is "prerequisites".
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"parity_samples": Range(4, 100_000), "noise_tasks": Range(0, 100)}

    data: str | MultiTaskDataset = NAME
    updates: int = 32
    updates_per_step: int = 4
    minibatch: int = 32
    learning_rate: float = 0.04
    target_tasks: Sequence[str | int] | None = (PATTERN, PARITY)
    parity_samples: int = 16
    noise_tasks: int = 2

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        self._only("data are generated", data=NAME)


class PrerequisitesVectorEnv(KnownScheduleVectorEnv):
    """Training runs on a task, its prerequisite, and tasks that are of no use.

    Inputs hide two bits behind a rotation and noise. "pattern" is to tell both bits, with many samples. "parity" is
    to tell whether they differ, with so few samples that a network memorises them unless its encoder already represents
    the bits. "easy" depends on one strong feature and is learned at once. "noise 1", "noise 2", ... have random labels.
    Only pattern and parity count. The order of the tasks is secret.

    * Observation: float32 [num_envs, 3 * tasks + 1]: `progress_features`.
    * Action: int64 [num_envs] in [0, tasks): the task of the next `updates_per_step` minibatches.
    * Reward: float32 [num_envs]: the gain in the mean validation accuracy of pattern and parity.
    * Termination: after `updates` gradient steps, which are part of the problem. Episodes are never truncated.
    * Figure: mean test accuracy of pattern and parity in per cent.
    * Dials: `parity_samples`, `noise_tasks`, `updates`. `instance` draws other data and another order of the tasks.
    * Optimum: pattern first, then both in turn: a schedule that a search found; see benchmarks/optima/prerequisites.py.

    Example:
        >>> env = PrerequisitesVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> for _ in range(env.run_length):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> accuracy = info["final_info"]["accuracy"][:, env.targets].mean(0)
        >>> bool(accuracy.min() > 0.8)
        True
    """

    Options: ClassVar[type[EnvOptions]] = PrerequisitesOptions
    STACKS: ClassVar[bool] = True
    options: PrerequisitesOptions

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of all tasks: pattern and parity, then the others."""
        return (PATTERN, PARITY, *sorted(set(self.task_names) - {PATTERN, PARITY}))

    @property
    def plan(self) -> tuple[int, ...]:
        """The best schedule that is known, in equal parts of a run: 0 is pattern, 1 parity."""
        return BEST

    def _load_data(self) -> MultiTaskDataset:
        return prerequisites(self.options.parity_samples, self.options.noise_tasks, self.options.instance)

    def _network_for(self, data: MultiTaskDataset) -> SharedNetwork:
        encoder = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        return SharedNetwork(encoder, nn.Linear(HIDDEN, data.max_classes))


class PrerequisitesEnv(BatchOfOne):
    """Single training run with a known order, as returned by `gym.make("MTLScheduling-Prerequisites-v0")`.

    Args:
        **options: Fields of `PrerequisitesOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLScheduling-Prerequisites-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
    """

    vector_class = PrerequisitesVectorEnv
