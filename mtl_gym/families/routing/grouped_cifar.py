"""Routing of features of real photographs whose labels are permuted by hidden groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from mtl_gym.core.instances import secret
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.rows import Rows
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset, data_root, load
from mtl_gym.data.encoders import principal_components
from mtl_gym.data.split import Split
from mtl_gym.families.routing.dealt import deal_images
from mtl_gym.families.routing.grouped import Grouped, GroupedOptions, GroupedVectorEnv

NAME = "cifar"
FEATURES = 32
# Ten classes that differ in kind, chosen by their names.
CLASS_NAMES = (
    "apple",
    "bicycle",
    "castle",
    "cockroach",
    "dolphin",
    "leopard",
    "oak_tree",
    "road",
    "rose",
    "wardrobe",
)


@dataclass(frozen=True, kw_only=True)
class GroupedCIFAROptions(GroupedOptions):
    """Keyword arguments of `MTLRouting-GroupedCIFAR-v0`, those of `GroupedOptions`."""

    NAME: ClassVar[str] = NAME

    data: str | MultiTaskDataset = NAME


class GroupedCIFARVectorEnv(GroupedVectorEnv):
    """Batch of `num_envs` photographs, each routed to one of several perceptrons that train during the steps.

    Inputs are features of photographs of ten classes of CIFAR-100. Tasks fall into hidden groups, and each group
    permutes the labels in its own way: no class has the same label in two groups. Features do not tell the group. Each
    task has few training images, so that tasks of one group need a common block, while tasks of two groups spoil it for
    each other.

    The features are the principal components of the standardised features of image patches
    (`mtl_gym.data.encoders.fit_patches`), fitted to the training images without labels. The latter are computed on
    first use and cached in the data root.

    * Observation: `value` float32 [num_envs, 32], the features; `task` int64 [num_envs]; `depth` int64 [num_envs].
    * Action: int64 [num_envs] in [0, M), the block that answers; the last action, PASS, is masked.
    * Reward: float32 [num_envs]: +1 for a right answer, -1 for a wrong one.
    * Termination: after `depth` decisions, which is one. After `train_batch` episodes, one gradient step updates the
      used blocks.
    * Dials: `samples` (fewer images: sharing matters more), `groups` (more contradictions), `tasks`. `instance` draws
      other groups, labels and images.
    * Optimum: one block per group, by construction. `best_actions` returns it, `groups` has the group of each task.

    Raises:
        MissingDataError: If CIFAR-100 is not in the data root.
    """

    Options: ClassVar[type[EnvOptions]] = GroupedCIFAROptions
    options: GroupedCIFAROptions

    def _draw_truth(self) -> Grouped:
        options = self.options
        root = data_root(options.data_root)
        return grouped_cifar(root, options.tasks, options.groups, options.samples, options.instance)


class GroupedCIFAREnv(BatchOfOne):
    """Single environment of grouped photographs, as returned by `gym.make("MTLRouting-GroupedCIFAR-v0")`.

    Args:
        **options: The fields of `GroupedCIFAROptions`.
    """

    vector_class = GroupedCIFARVectorEnv


@lru_cache(maxsize=8)
def grouped_cifar(root: Path, tasks: int, groups: int, samples: int, instance: int) -> Grouped:
    """Deal features of photographs to tasks, and permute the labels of each hidden group in its own way.

    The splits are those of the data set "cifar"; see `deal_images`.

    Args:
        root: Data root.
        tasks: Number of tasks.
        groups: Number of hidden groups.
        samples: Training images per task; as many for validation, or as many as there are.
        instance: Number of the hidden truth.

    Raises:
        ValueError: If there are too few images.
    """
    sizes = (tasks, groups, samples)
    return deal_images("grouped-cifar", _features(root), sizes, secret("grouped-cifar", instance))


@lru_cache(maxsize=2)
def _features(root: Path) -> dict[str, tuple[Tensor, Rows]]:
    """Return the features, float32 [images, FEATURES], and classes, int64 [images], of each split."""
    data = load("cifar", root)
    numbers = {name: number for number, name in enumerate(CLASS_NAMES)}
    chosen = torch.tensor([[numbers.get(name, -1) for name in names] for names in data.class_names])
    splits = {}
    for name, split in data.splits.items():
        label = chosen[split.task, split.y]
        kept = label >= 0
        splits[name] = Split(split.x[kept], torch.zeros(int(kept.sum()), dtype=torch.int64), label[kept])
    ten = MultiTaskDataset("cifar-ten", splits, ("photographs",), (CLASS_NAMES,), data.mean, data.std)
    featured = ten.with_features("patches", cache=root)
    x = {name: featured.inputs(name, torch.arange(len(split))) for name, split in featured.splits.items()}
    components = principal_components(x["train"], FEATURES)
    return {name: (x[name] @ components, split.y.numpy()) for name, split in featured.splits.items()}
