"""Final rewards from held-out samples, so that memorised training samples do not pay."""

from __future__ import annotations

import numpy as np
import torch

from mtl_gym.core.classification import Classes, FinalReward, judge
from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Rows
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing.network import RoutedNetwork
from mtl_gym.families.routing.options import RoutingOptions


class HeldOut:
    """Rewards of routes on other samples of the same tasks, in one pass without gradients.

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
        >>> drawn = held_out.draw(np.array([3, 3, 7]), np.random.default_rng(0))
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

    def draw(self, task: Rows, random: np.random.Generator) -> Rows:
        """Draw a sample of each task, with replacement; int64 [n] -> int64 [n]."""
        return self._by_task[self._first[task] + random.integers(self._sizes[task])]

    def earned(self, network: RoutedNetwork, task: Rows, routes: Rows, random: np.random.Generator) -> Floats:
        """Return the final rewards of routes on drawn samples of their tasks.

        Args:
            network: The network; its mode is restored.
            task: Task of each route; int64 [n].
            routes: Choices; int64 [n, depth].
            random: Generator of the draw.

        Returns:
            float32 [n].
        """
        sample = torch.from_numpy(self.draw(task, random)).to(self._label.device)
        target = torch.stack([self._label[sample], torch.from_numpy(task).to(sample.device)])
        training = network.training
        with torch.no_grad():
            logits = network.eval()(self.data.inputs(self.split, sample), routes)
            network.train(training)
            logits = self.classes.restrict(logits, target[1])
            losses = torch.nn.functional.cross_entropy(logits, target[0], reduction="none")
            return judge(self.reward, logits, losses, target)[0]


def held_out(options: RoutingOptions, data: MultiTaskDataset, reward: FinalReward, classes: Classes) -> HeldOut | None:
    """Return the rewards for the option `reward_split`; None where the routed input itself pays."""
    if options.split != "train" or options.reward_split == "train":
        return None
    return HeldOut(data, options.reward_split, reward, classes)
