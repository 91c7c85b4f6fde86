"""Routing of real digits whose labels are permuted by hidden groups of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from mtl_gym.core.instances import secret
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.stratified import stratified_rows
from mtl_gym.families.routing.dealt import deal_images
from mtl_gym.families.routing.grouped import Grouped, GroupedOptions, GroupedVectorEnv

NAME = "grouped-digits"
_BRIGHTEST = 16


@dataclass(frozen=True, kw_only=True)
class GroupedDigitsOptions(GroupedOptions):
    """Keyword arguments of `MTLRouting-GroupedDigits-v0`, those of `GroupedOptions`."""

    NAME: ClassVar[str] = NAME

    data: str | MultiTaskDataset = NAME


class GroupedDigitsVectorEnv(GroupedVectorEnv):
    """Batch of `num_envs` real images of digits, each routed to one of several perceptrons that train during the steps.

    Tasks fall into hidden groups, and each group permutes the labels in its own way: no digit has the same label in two
    groups. Pixels do not tell the group. Each task has few training images, so that tasks of one group need a common
    block, while tasks of two groups spoil it for each other.

    * Observation: `value` float32 [num_envs, 64], the pixels; `task` int64 [num_envs]; `depth` int64 [num_envs].
    * Action: int64 [num_envs] in [0, M), the block that answers; the last action, PASS, is masked.
    * Reward: float32 [num_envs]: +1 for a right answer, -1 for a wrong one.
    * Termination: after `depth` decisions, which is one. After `train_batch` episodes, one gradient step updates the
      used blocks.
    * Dials: `samples` (fewer images: sharing matters more), `groups` (more contradictions), `tasks`. `instance` draws
      other groups, labels and images.
    * Optimum: one block per group, by construction. `best_actions` returns it, `groups` has the group of each task.

    Example:
        >>> env = GroupedDigitsVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> for _ in range(200):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> env.updates, env.num_blocks, sorted(set(env.groups.tolist()))
        (200, 3, [0, 1, 2])
    """

    Options: ClassVar[type[EnvOptions]] = GroupedDigitsOptions
    options: GroupedDigitsOptions

    def _draw_truth(self) -> Grouped:
        options = self.options
        return grouped_digits(options.tasks, options.groups, options.samples, options.instance)


class GroupedDigitsEnv(BatchOfOne):
    """Single environment of grouped digits, as returned by `gym.make("MTLRouting-GroupedDigits-v0")`.

    Args:
        **options: The fields of `GroupedDigitsOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-GroupedDigits-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
        >>> terminated
        True
    """

    vector_class = GroupedDigitsVectorEnv


@lru_cache(maxsize=8)
def grouped_digits(tasks: int, groups: int, samples: int, instance: int) -> Grouped:
    """Deal scikit-learn's digits to tasks, and permute the labels of each hidden group in its own way.

    60% of the images, stratified by digit, are for training, 20% for validation and 20% for test; see `deal_images`.

    Args:
        tasks: Number of tasks.
        groups: Number of hidden groups.
        samples: Training images per task; as many for validation, or as many as there are.
        instance: Number of the hidden truth.

    Raises:
        ValueError: If there are too few images.
    """
    from sklearn.datasets import load_digits

    random = secret(NAME, instance)
    pixels, digits = load_digits(return_X_y=True)
    rows = stratified_rows(digits, 0.2, 0.2, random)
    x = torch.from_numpy(pixels).float() / _BRIGHTEST
    images = {split: (x[torch.from_numpy(chosen)], digits[chosen]) for split, chosen in rows.items()}
    return deal_images(NAME, images, (tasks, groups, samples), random)
