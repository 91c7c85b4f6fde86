"""The base of families in which an episode is a training run from fresh weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.rows import Array, Flags, Info, Rows


class TrainingRunVectorEnv(MultiTaskVectorEnv):
    """`num_envs` training runs side by side, each with a network of its own.

    All runs have the same length: they begin and end together, with `truncated`. A view measures runs on another split.
    A family implements the hooks of `MultiTaskVectorEnv` except `_learn`, and `_measures` and `_train_size`.

    Attributes:
        run_seeds: Seed of each run under way; int64 [num_envs].
    """

    SHARED: ClassVar[bool] = False
    EVALUATION_WIDTH: ClassVar[int | None] = None
    PICTURES_OF: ClassVar[str] = "test"  # pictures show validation curves of runs that are trained for either split
    run_seeds: Rows
    _samples: int = 0
    _step: int = 0

    @abstractmethod
    def _measures(self) -> Mapping[str, Array]:
        """Return the figures that the info of every step has, finite, [num_envs, ...] each."""

    @property
    @abstractmethod
    def _train_size(self) -> int:
        """Training samples of all tasks."""

    def _learn(self, done: Flags) -> None:
        """Do nothing: a run is trained while it is under way."""

    def _draw_seeds(self) -> None:
        """Draw the seeds of the runs that begin."""
        self.run_seeds = self.np_random.integers(2**63, size=self.num_envs)
        self._step = 0

    def mask_info(self) -> Info:
        """Return the info of a step in which no episode ends."""
        figures, everyone = self._measures(), np.ones(self.num_envs, bool)
        return {**super().mask_info(), **figures} | {f"_{name}": everyone.copy() for name in figures}

    @property
    def pass_over(self) -> bool:
        """Whether the runs of an evaluation view are over; always False elsewhere."""
        return self._source is not None and self.episodes > 0

    @property
    def samples(self) -> int:
        """Training samples of all runs so far; a sample counts every time."""
        return self._samples

    @property
    def epoch(self) -> float:
        """Passes of one run over the training data so far."""
        return self._samples / self.num_envs / self._train_size
