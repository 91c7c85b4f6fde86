"""What routing and limitless routing have in common: every episode takes one labelled sample through a network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.classification import Answers, Classes, final_reward, judge, one_answer_each
from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.rows import Flags, Rows
from mtl_gym.core.sampling import Pass, SampleStream
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.resolution import resolve


class SampledVectorEnv(MultiTaskVectorEnv):
    """`num_envs` samples of one data set, each with one label, on their way through a network.

    A family adds `_set_up`, which begins anew with a stream of samples.
    """

    FAMILY: ClassVar[str]
    options: Any

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(num_envs, **options)
        data = resolve(self.options.data, MultiTaskDataset, self.options.data_root)
        self.data = one_answer_each(data, self.FAMILY).to(self.device)
        self._split = self.data.split(self.options.split)
        self._task, self._label = self._split.task.cpu().numpy(), self._split.y.cpu().numpy()
        self._final_reward = final_reward(self.options.reward)
        self._classes = Classes(self.data, self.device)
        self._sample = np.full(num_envs, -1)
        self._ended = self.episodes = 0

    def _set_up(self, stream: SampleStream | Pass) -> None:
        """Forget all episodes, and take samples from `stream`."""
        self._stream = stream
        self._sample = np.full(self.num_envs, -1)
        self._ended = self.episodes = 0

    def _tasks(self) -> Rows:
        """Task of each row; int64 [num_envs]."""
        return self._task[self._sample]

    def _task_name(self, row: int) -> str:
        return self.data.task_names[self._tasks()[row]]

    def _settle(self, rows: Rows, answers: Tensor, losses: Tensor, reward: NDArray[np.float32], given: Answers) -> None:
        """Pay the answers of `rows` and enter them; logits float32 [n, classes], losses float32 [n]."""
        label, task = self._label[self._sample[rows]], self._tasks()[rows]
        on_device = torch.from_numpy(np.stack([label, task])).to(self.device, non_blocking=True)
        answers = self._classes.restrict(answers, on_device[1])
        earned, loss, named = figures = judge(self._final_reward, answers, losses, on_device)
        self._check_finite(figures[:2], task)
        reward[rows] += earned
        given.enter(rows, label, loss, named)

    def _count(self, done: Flags) -> None:
        """Count episodes that ended: since the last update, and in all."""
        ended = int(done.sum())
        self._ended += ended
        self.episodes += ended

    def _adopt(self, source: Any) -> None:
        self._np_random, self.seed, self.updates = source.np_random, source.seed, source.updates
        self.network, self.optimizer = source.network, source.optimizer
        self._set_up(Pass(len(self._split), self.num_envs))

    @property
    def playing(self) -> Flags:
        """Rows that have a sample; bool [num_envs]."""
        return self._sample >= 0

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""
        return self.data.task_names

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        return self.episodes / len(self._split)
