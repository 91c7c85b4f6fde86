"""Generated sequences in which the regime changes: a cue tells it, and each task has its own rule for a cue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.instances import secret
from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset, Split

NAME = "recurrent-switching"
# Sequences of each task.
SEQUENCES = {"train": 512, "validation": 64, "test": 128}
# Value of a cue without noise for the regime that holds; it is 0 for the others.
CUE = 3.0


@dataclass(frozen=True)
class Truth:
    """Hidden truth of an instance.

    Attributes:
        rules: Weights of each rule, whose largest output is the class; float32 [rules, inputs, classes]. Rule m is
            rule 0 with all classes shifted by m.
        asked: Rule of each regime in each task; int64 [tasks, regimes]. A Latin square: up to as many tasks as
            regimes, no two tasks have the same rule in a regime.
    """

    rules: NDArray[np.float32]
    asked: Rows

    @classmethod
    def draw(cls, regimes: int, tasks: int, random: np.random.Generator) -> Truth:
        """Draw a truth; arguments as in `SwitchingOptions`."""
        rotation = np.linalg.qr(random.standard_normal((regimes, regimes)))[0].astype(np.float32)
        rules = np.stack([np.roll(rotation, shift, axis=1) for shift in range(regimes)])
        rows, columns, names = (random.permutation(regimes) for _ in range(3))
        row = rows[np.arange(tasks) % regimes]
        return cls(rules, names[(row[:, None] + columns) % regimes])

    def sequences(
        self, each: int, steps: int, regime_steps: int, noise: float, random: np.random.Generator
    ) -> tuple[Split, Rows]:
        """Return `each` sequences of every task, with the most likely rule of each step; int64 [sequences, steps]."""
        tasks, regimes = self.asked.shape
        task = np.repeat(np.arange(tasks), each)
        regime = changing(len(task), regimes, steps, regime_steps, random)
        x, error = random.standard_normal((2, *regime.shape, regimes))
        label = ((x @ self.rules[0]).argmax(2) + self.asked[task[:, None], regime]) % regimes
        cue = CUE * np.eye(regimes)[regime] + noise * error
        parts = np.concatenate([x, cue], 2).astype(np.float32), task, label
        likely = most_likely(cue, regime_steps, noise)
        return Split(*map(torch.from_numpy, parts)), self.asked[task[:, None], likely]


@dataclass(frozen=True)
class Switching:
    """Generated data set with its truth.

    Attributes:
        data: The data set: inputs of the modules, then the cue; float32 [steps, 2 regimes], a label for every step.
        truth: The truth.
        best: Most likely rule of each step of each split, given the cues so far; int64 [sequences, steps].
    """

    data: MultiTaskDataset
    truth: Truth
    best: Mapping[str, Rows]


@lru_cache(maxsize=16)
def switching(regimes: int, tasks: int, steps: int, regime_steps: int, noise: float, instance: int) -> Switching:
    """Generate the data set; arguments as in `SwitchingOptions`."""
    random = secret(NAME, instance)
    truth = Truth.draw(regimes, tasks, random)
    made = {split: truth.sequences(each, steps, regime_steps, noise, random) for split, each in SEQUENCES.items()}
    names, classes = _numbered("task", tasks), _numbered("class", regimes)
    data = MultiTaskDataset(NAME, {split: part for split, (part, _) in made.items()}, names, (classes,) * tasks)
    return Switching(data, truth, {split: best for split, (_, best) in made.items()})


def _numbered(what: str, count: int) -> tuple[str, ...]:
    return tuple(f"{what} {number}" for number in range(count))


def changing(rows: int, regimes: int, steps: int, regime_steps: int, random: np.random.Generator) -> Rows:
    """Draw the regime of each step; every `regime_steps` steps, another one begins; int64 [rows, steps].

    At every step, all regimes are equally likely.

    Example:
        >>> changing(2, regimes=2, steps=6, regime_steps=2, random=np.random.default_rng(0)).tolist()
        [[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1]]
    """
    changes = random.integers(1, regimes, size=(rows, -(-steps // regime_steps)))
    changes[:, 0] = random.integers(regimes, size=rows)
    return np.repeat(changes.cumsum(1) % regimes, regime_steps, axis=1)[:, :steps]


def most_likely(cue: NDArray[np.float64], regime_steps: int, noise: float) -> Rows:
    """Return the most likely regime of each step, given all cues up to it: the exact filter of `changing`.

    Args:
        cue: float64 [rows, steps, regimes].
        regime_steps: Number of steps of a regime.
        noise: Standard deviation of the noise on the cue.

    Returns:
        int64 [rows, steps].

    Example:
        >>> most_likely(np.array([[[2.0, 1.0], [0.0, 3.0], [2.0, 1.9]]]), regime_steps=2, noise=1.0).tolist()
        [[0, 1, 0]]
    """
    # Log-likelihoods up to a constant; values beyond 1e4 leave no doubt in any case.
    evidence = np.clip(CUE * cue / max(noise, 1e-3) ** 2, -1e4, 1e4)
    belief, likely = np.full(evidence[:, 0].shape, 1 / cue.shape[2]), []
    for step in range(cue.shape[1]):
        if step and step % regime_steps == 0:
            belief = (1 - belief) / (cue.shape[2] - 1)
        belief = _normalised(np.log(np.maximum(belief, 1e-300)) + evidence[:, step])
        likely.append(belief.argmax(1))
    return np.stack(likely, 1)


def _normalised(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)
