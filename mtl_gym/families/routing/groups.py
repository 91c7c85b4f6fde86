"""Routing of generated samples whose labels come from hidden teachers, one for each group of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.instances import secret
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import Range
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import Split
from mtl_gym.families.routing.grouped import Grouped, GroupedOptions, GroupedVectorEnv, draw_groups

NAME = "groups"
INPUTS, CLASSES = 16, 4
HELD_OUT = {"validation": 40, "test": 200}


@dataclass(frozen=True, kw_only=True)
class GroupsOptions(GroupedOptions):
    """Keyword arguments of `MTLRouting-Groups-v0`, those of `GroupedOptions`; `groups` is at most 4."""

    RANGES: ClassVar[Mapping[str, Range]] = {"groups": Range(2, CLASSES)}
    NAME: ClassVar[str] = NAME

    data: str | MultiTaskDataset = NAME
    learning_rate: float = 3e-3


class GroupsVectorEnv(GroupedVectorEnv):
    """Batch of `num_envs` generated inputs, each routed to one of several perceptrons that train during the steps.

    Tasks fall into hidden groups, each with a linear teacher of its own. The label of an input is the class with the
    largest value of its task's teacher, and no input has the same label in two groups. Inputs of all tasks have one
    distribution and do not tell the group.

    * Observation: `value` float32 [num_envs, 16], the input; `task` int64 [num_envs]; `depth` int64 [num_envs].
    * Action: int64 [num_envs] in [0, M), the block that answers; the last action, PASS, is masked.
    * Reward: float32 [num_envs]: +1 for a right answer, -1 for a wrong one.
    * Termination: after `depth` decisions, which is one. After `train_batch` episodes, one gradient step updates the
      used blocks.
    * Dials: `samples` (fewer: sharing matters more), `groups` (more contradictions), `tasks`. `instance` draws other
      groups, teachers and data.
    * Optimum: one block per group, by construction. `best_actions` returns it, `groups` has the group of each task.

    Example:
        >>> env = GroupsVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> for _ in range(200):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> env.updates, env.num_blocks, np.bincount(env.groups)
        (200, 3, array([4, 4, 4]))
    """

    Options: ClassVar[type[EnvOptions]] = GroupsOptions
    options: GroupsOptions

    def _draw_truth(self) -> Grouped:
        options = self.options
        return taught(options.tasks, options.groups, options.samples, options.instance)


class GroupsEnv(BatchOfOne):
    """Single environment of generated groups, as returned by `gym.make("MTLRouting-Groups-v0")`.

    Args:
        **options: The fields of `GroupsOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Groups-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
        >>> terminated
        True
    """

    vector_class = GroupsVectorEnv


@lru_cache(maxsize=8)
def taught(tasks: int, groups: int, samples: int, instance: int) -> Grouped:
    """Generate the data set: normal inputs, labelled by the linear teacher of the task's group.

    Args:
        tasks: Number of tasks.
        groups: Number of hidden groups and of teachers.
        samples: Training samples per task.
        instance: Number of the hidden truth.
    """
    random = secret(NAME, instance)
    members, teachers = draw_groups(tasks, groups, random), contrary_teachers(groups, random)
    sizes = {"train": samples, **HELD_OUT}
    splits = {split: _labelled(teachers[members], each, random) for split, each in sizes.items()}
    names = tuple(f"task {task}" for task in range(tasks))
    classes = (tuple(f"label {label}" for label in range(CLASSES)),) * tasks
    return Grouped(MultiTaskDataset(NAME, splits, names, classes), members)


def contrary_teachers(groups: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw linear teachers of which no two give an input the same label; float64 [groups, inputs, classes].

    They are one teacher whose classes are shifted in a circle.

    Example:
        >>> teachers = contrary_teachers(2, np.random.default_rng(0))
        >>> np.unique(np.diff((np.ones(16) @ teachers).argmax(-1)) % 4)
        array([1])
    """
    teacher = random.normal(size=(INPUTS, CLASSES))
    return np.stack([np.roll(teacher, group, axis=1) for group in range(groups)])


def _labelled(teachers: NDArray[np.float64], each: int, random: np.random.Generator) -> Split:
    """Draw samples of each task and label them by its teacher; float64 [tasks, inputs, classes]."""
    x = random.normal(size=(len(teachers), each, INPUTS))
    y = np.einsum("tsi,tic->tsc", x, teachers).argmax(-1)
    task = np.repeat(np.arange(len(teachers)), each)
    return Split(torch.from_numpy(x.reshape(-1, INPUTS)).float(), torch.from_numpy(task), torch.from_numpy(y.ravel()))
