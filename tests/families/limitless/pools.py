"""Small hand-computable pools and environments."""

import numpy as np
import torch
from torch import nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.limitless.env import LimitlessVectorEnv
from mtl_gym.families.limitless.pool import ModulePool, PoolModule


def tiny_data(rows=60, classes=(2, 3), features=16):
    rng = np.random.default_rng(0)
    tasks = {}
    for task, count in enumerate(classes):
        y = np.arange(rows) % count
        tasks[f"task {task}"] = (rng.normal(size=(rows, features)) + y[:, None] * (task + 1), y)
    return MultiTaskDataset.from_tasks("tiny", tasks)


def make(num_envs=4, **options):
    small = {"data": tiny_data(), "image_shape": [1, 4, 4], "filters": 2, "hidden": 6, "duplicates": 2}
    return LimitlessVectorEnv(num_envs, **small | options)


def valid_actions(env, rng):
    masks = env.action_masks()
    return np.where(masks, rng.random(masks.shape), -1).argmax(1)


class Mark(nn.Module):
    """Module that appends a number to its input, which identifies it to the head."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return torch.cat([x, x.new_full((len(x), 1), self.number)], 1)


class Judge(nn.Module):
    """Head that predicts the correct class on the path of the task, and a wrong class on all others.

    Inputs are (task, label, marks...).
    """

    def __init__(self, number, paths):
        super().__init__()
        self.number = number
        self.register_buffer("paths", torch.tensor(paths))

    def forward(self, x):
        took = torch.cat([x[:, 2:].round(), x.new_full((len(x), 1), self.number)], 1)
        right = (took == self.paths[x[:, 0].round().long()]).all(1)
        toward_one = torch.where(right, 2.0, -2.0) * (2 * x[:, 1] - 1)
        return torch.stack([-toward_one, toward_one], 1)


def labyrinth(paths, rows=60):
    """Return data and a frozen pool with one correct path (first, second, head) per task."""
    tasks = {}
    for task in range(len(paths)):
        y = np.arange(rows) % 2
        tasks[f"task {task}"] = (np.stack([np.full(rows, task), y], 1).astype(np.float32), y)
    first = [PoolModule(Mark(i), (2,), name=f"first {i}") for i in range(3)]
    second = [PoolModule(Mark(i), (3,), name=f"second {i}") for i in range(3)]
    heads = [PoolModule(Judge(i, paths), (4,), head=True, name=f"head {i}") for i in range(3)]
    return MultiTaskDataset.from_tasks("labyrinth", tasks, normalise=False), ModulePool([*first, *second, *heads], (2,))
