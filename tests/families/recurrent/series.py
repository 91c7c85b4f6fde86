"""Small hand-computable series and environments."""

import numpy as np
import torch

from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.recurrent.env import RecurrentVectorEnv

STEPS, FEATURES = 5, 3


def tiny_series(rows=20, tasks=("first", "second", "third"), seed=0):
    """Return three tasks, the first with two classes; a label is the index of the largest mean."""
    rng = np.random.default_rng(seed)
    splits = {}
    for name in ("train", "validation", "test"):
        task = np.arange(rows * len(tasks)) % len(tasks)
        y = np.where(task == 0, np.arange(len(task)) // 3 % 2, np.arange(len(task)) // 3 % 3)
        x = rng.standard_normal((len(task), STEPS, FEATURES)) + 2 * np.eye(FEATURES)[y][:, None]
        splits[name] = Split(torch.from_numpy(x).float(), torch.from_numpy(task), torch.from_numpy(y))
    classes = (("a", "b"), *[("a", "b", "c")] * (len(tasks) - 1))
    return MultiTaskDataset("tiny", splits, tasks, classes)


TINY = tiny_series()


def make(num_envs=4, **options):
    options = {"data": TINY, "hidden": 4, "layers": (2, 3, 2), "train_batch": num_envs, "device": "cpu"} | options
    return RecurrentVectorEnv(num_envs, **options)


def draw(env, rng):
    return rng.integers(2, size=(env.num_envs, env.connections))


def roll(env, steps, seed=0):
    """Return all results of `steps` random steps."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        obs, reward, terminated, _, info = env.step(draw(env, rng))
        seen.append([*obs.values(), reward, terminated, info["action_mask"]])
    return seen
