"""Final rewards from held-out samples, so that memorised training samples do not pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from mtl_gym.core.classification import Classes, FinalReward, judge
from mtl_gym.core.classification_env import ClassificationOptions, ClassificationVectorEnv
from mtl_gym.core.episode import Floats
from mtl_gym.core.nn.eval_mode import eval_mode
from mtl_gym.core.rows import Rows
from mtl_gym.data.dataset import MultiTaskDataset

# Returns the logits of samples of the held-out split; int64 [n] -> float32 [n, classes].
Answer: TypeAlias = Callable[[Rows], Tensor]
# Splits whose samples may pay rewards.
SPLITS = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class HeldOutOptions(ClassificationOptions):
    """Keyword arguments of `HeldOutVectorEnv`, besides those of `ClassificationOptions`.

    Attributes:
        reward_split: Split of the samples that pay the final reward of training episodes. "train": the input of the
            episode itself. "validation": a held-out sample of the same task, drawn at random, after the same decisions;
            weights still train on the input of the episode, which `final_info` describes.
    """

    reward_split: str = "train"

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        test = "'train' or 'validation': test samples are for evaluation only"
        self._require("reward_split", self.reward_split in SPLITS, test)


class HeldOut:
    """Final rewards of other samples of the same tasks, in one pass without gradients.

    Args:
        data: The data set, on the device of the network.
        split: Split of the samples.
        reward: Final reward of an answer.
        classes: Classes of each task.

    Raises:
        ValueError: If a task has no sample in the split.

    Example:
        >>> from mtl_gym.core.classification import correct
        >>> from mtl_gym.data import load
        >>> digits = load("digits")
        >>> held_out = HeldOut(digits, "validation", correct, Classes(digits, torch.device("cpu")))
        >>> drawn = held_out.draw(np.array([3, 3, 7]), [np.random.default_rng(0)])
        >>> digits.split("validation").task[drawn]
        tensor([3, 3, 7])
    """

    def __init__(self, data: MultiTaskDataset, split: str, reward: FinalReward, classes: Classes) -> None:
        self.data, self.split, self.reward, self.classes = data, split, reward, classes
        self._label, task = data.split(split).y, data.split(split).task.cpu().numpy()
        self._sizes = np.bincount(task, minlength=data.num_tasks)
        if not self._sizes.all():
            empty = data.task_names[int(self._sizes.argmin())]
            raise ValueError(
                f"reward_split={split!r} is not possible; task {empty!r} of {data.name!r} has no {split} sample."
            )
        self._by_task = np.argsort(task, kind="stable")
        self._first = self._sizes.cumsum() - self._sizes

    def draw(self, task: Rows, randoms: Sequence[np.random.Generator]) -> Rows:
        """Draw a sample of each task, with replacement; int64 [n] -> int64 [n], equally many from each generator."""
        parts = zip(randoms, np.split(task, len(randoms)), strict=True)
        place = np.concatenate([random.integers(self._sizes[tasks]) for random, tasks in parts])
        return self._by_task[self._first[task] + place]

    def earned(self, network: nn.Module, answer: Answer, task: Rows, randoms: Sequence[np.random.Generator]) -> Floats:
        """Return the final rewards of drawn samples of tasks.

        Args:
            network: The network, which answers in evaluation mode; the mode of each part is restored.
            answer: Runs the network.
            task: int64 [n].
            randoms: Generator of the draw of each run, whose tasks follow one another.

        Returns:
            float32 [n].
        """
        sample = self.draw(task, randoms)
        index, tasks = torch.from_numpy(np.stack([sample, task])).to(self._label.device, non_blocking=True)
        target = torch.stack([self._label[index], tasks])
        with torch.no_grad():
            with eval_mode(network):
                logits = self.classes.restrict(answer(sample), target[1])
            losses = nn.functional.cross_entropy(logits, target[0], reduction="none")
            return judge(self.reward, logits, losses, target)[0]


class HeldOutVectorEnv(ClassificationVectorEnv):
    """Classification environment whose final rewards may come from held-out samples.

    A family calls `_settle_held_out` in place of `_settle`.
    """

    options: HeldOutOptions

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        split, train = self.options.reward_split, self.options.split == "train"
        held_out = HeldOut(self.data, split, self._final_reward, self._classes) if train and split != "train" else None
        self._held_out = held_out

    def _settle_held_out(
        self, rows: Rows, label: Rows, logits: Tensor, reward: Floats, losses: Tensor, answer: Answer
    ) -> tuple[Floats, Floats]:
        """Add the final reward of `rows` to `reward`, from the split that pays.

        Args:
            rows: Rows that answer; int64 [n].
            label: Right answers; int64 [n].
            logits: Answers; float32 [n, classes].
            reward: float32 [num_envs].
            losses: Losses of the answers; float32 [n].
            answer: Runs the network on held-out samples, after the decisions of `rows`.

        Returns:
            Losses and predicted classes of the answers; float32 [n] each.
        """
        if self._held_out is None or self._source is not None:  # in a view, its own samples pay
            return self._settle(rows, label, logits, reward, losses)
        task = self._tasks()[rows]
        settled = self._settle(rows, label, logits, np.zeros_like(reward), losses)
        earned = self._held_out.earned(self.network, answer, task, self.randoms)
        self._check_finite(earned, task)
        reward[rows] += earned
        return settled
