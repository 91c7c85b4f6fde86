"""Generated tasks of which one is the prerequisite of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.instances import secret
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import Split

NAME = "prerequisites"
PATTERN, PARITY, EASY = "pattern", "parity", "easy"
INPUTS, BITS = 40, 2
# Training samples of every task but parity; held-out samples of every task.
MANY, HELD_OUT = 2000, {"validation": 64, "test": 256}
CLASSES = {
    PATTERN: tuple(f"{number:0{BITS}b}" for number in range(2**BITS)),
    PARITY: ("even", "odd"),
    EASY: ("low", "high"),
}

Samples = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True)
class Hidden:
    """Hidden truth of an instance.

    Attributes:
        instance: Number of the instance.
        rotation: Orthogonal matrix that hides bits and strong feature; float64 [INPUTS, INPUTS].
        names: Names of the tasks, in a secret order.
    """

    instance: int
    rotation: NDArray[np.float64]
    names: tuple[str, ...]

    @classmethod
    def drawn(cls, noise_tasks: int, instance: int) -> Hidden:
        """Draw the truth of an instance; the rotation does not depend on the number of tasks."""
        random = secret(NAME, instance)
        rotation = np.linalg.qr(random.normal(size=(INPUTS, INPUTS)))[0]
        names = [PATTERN, PARITY, EASY, *(f"noise {number + 1}" for number in range(noise_tasks))]
        return cls(instance, rotation, tuple(names[place] for place in random.permutation(len(names))))

    def samples(self, task: str, split: str, count: int) -> Samples:
        """Draw inputs [count, INPUTS] and labels [count] of a task, which do not depend on other tasks or splits."""
        random = secret(f"{NAME}, {task}, {split}", self.instance)
        pattern, strong = _balanced(2**BITS, count, random), _balanced(2, count, random)
        bits = pattern[:, None] >> np.arange(BITS) & 1
        x = random.normal(size=(count, INPUTS))
        x[:, :BITS] = 1.5 * (2 * bits - 1) + 0.3 * x[:, :BITS]
        x[:, BITS] = 3.0 * (2 * strong - 1)
        labels = {PATTERN: pattern, PARITY: bits.sum(1) % 2, EASY: strong}
        return x @ self.rotation, labels[task] if task in labels else _balanced(2, count, random)


def _balanced(values: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw numbers below `values`, each as often as the others, so that few samples favour none; [count]."""
    return random.permutation(np.arange(count) % values)


def prerequisites(parity_samples: int, noise_tasks: int, instance: int) -> MultiTaskDataset:
    """Generate the data set: inputs float32 [INPUTS], tasks in a secret order.

    Args:
        parity_samples: Training samples of parity; all other tasks have 2,000.
        noise_tasks: Number of tasks with random labels.
        instance: Number of the hidden truth.

    Example:
        >>> data = prerequisites(parity_samples=32, noise_tasks=1, instance=0)
        >>> sorted(zip(data.task_names, data.num_classes, data.task_sizes("train")))
        [('easy', 2, 2000), ('noise 1', 2, 2000), ('parity', 2, 32), ('pattern', 4, 2000)]
    """
    hidden = Hidden.drawn(noise_tasks, instance)
    sizes = {"train": [parity_samples if name == PARITY else MANY for name in hidden.names]}
    sizes |= {split: [count] * len(hidden.names) for split, count in HELD_OUT.items()}
    splits = {split: _split(hidden, split, counts) for split, counts in sizes.items()}
    classes = tuple(CLASSES.get(name, ("heads", "tails")) for name in hidden.names)
    return MultiTaskDataset(NAME, splits, hidden.names, classes)


def _split(hidden: Hidden, split: str, sizes: list[int]) -> Split:
    parts = [hidden.samples(name, split, size) for name, size in zip(hidden.names, sizes, strict=True)]
    x, y = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
    return Split(x.float(), torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)), y)
