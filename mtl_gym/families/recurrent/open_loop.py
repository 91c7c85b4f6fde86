"""Whole sequences at once, for policies that do not look at the state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.actions import checked
from mtl_gym.core.classification_env import ClassificationVectorEnv
from mtl_gym.core.episode import Floats, Transition
from mtl_gym.core.interfaces import OPEN_LOOP, Interface
from mtl_gym.core.modes import in_own_mode
from mtl_gym.core.rows import Flags, Rows
from mtl_gym.families.recurrent.acting import Acting
from mtl_gym.families.recurrent.sequences import SequenceSplit


class OpenLoopVectorEnv(ClassificationVectorEnv):
    """Batch of sequences that play step by step or, without observations, at once.

    A family adds `_answer`, `_cost`, `_outcome` and `_whole_logits`, which both ways share.
    """

    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset({OPEN_LOOP})
    connections: int
    _acting: Acting
    _split: SequenceSplit
    _sees: bool = True

    @abstractmethod
    def _answer(self, rows: Rows, step: Rows, logits: Tensor, reward: Floats) -> None:
        """Answer in `rows` at `step`, int64 [n] each, and add the final reward to `reward`; float32 [num_envs]."""

    @abstractmethod
    def _cost(self, spent: Floats) -> Floats:
        """Return what connections have cost so far; float32 [..., num_envs, C] -> [..., num_envs]."""

    @abstractmethod
    def _outcome(self, reward: Floats, done: Flags) -> Transition:
        """Return the transition of a step; float32 and bool [num_envs]."""

    @abstractmethod
    def _whole_logits(self, rows: Rows) -> Tensor:
        """Return the answers of `rows`, int64 [n], to whole sequences; float32 [n, classes] or [pairs, classes]."""

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Let observations have zeros for `units`, which takes most of a step, for policies that do not look."""
        self._sees = False
        try:
            yield
        finally:
            self._sees = True

    @property
    def tasks(self) -> Rows:
        """Task of each row; int64 [num_envs]."""
        return self._tasks()

    @property
    def steps(self) -> int:
        """Number of time steps of the longest sequence."""
        return self._split.steps

    @property
    def in_step(self) -> bool:
        """True if `play` is possible: all sequences are equally long, and no row is within one."""
        return self._split.even and self._order is None and not self._acting.episodes.step.any()

    @in_own_mode
    def play(self, plans: object) -> tuple[Floats, Transition]:
        """Carry out whole sequences at once, for policies that do not look; the results are those of `steps` steps.

        `current` returns the observation of the sequences that begin.

        Args:
            plans: 0 or 1 for each connection at every step; [num_envs, steps, C].

        Returns:
            Rewards of all steps, float32 [steps, num_envs], and the last transition.

        Raises:
            ValueError: If plans do not fit, sequences differ in length, or a row is within one.
            TrainingDiverged: As `step`.

        Example:
            >>> from mtl_gym.families.recurrent import RecurrentVectorEnv
            >>> env = RecurrentVectorEnv(num_envs=4)
            >>> obs, info = env.reset(seed=0)
            >>> reward, last = env.play(np.ones((4, 28, 24), np.int8))
            >>> reward.shape, last.done.all()
            ((28, 4), np.True_)
        """
        self._require_reset("play()")
        self._refuse_if_diverged()
        self._refuse_if_interrupted()
        if self.pass_over:
            raise gym.error.ResetNeeded("The pass is over: call reset() to begin it anew.")
        if not self.in_step:
            raise ValueError(
                "play() takes rows that all begin a sequence, and sequences of one length; use step() for other data, "
                f"and to end the sequences of {int(np.count_nonzero(self._acting.episodes.step))} rows under way."
            )
        one = spaces.MultiBinary((self.steps, self.connections))
        whole = checked(plans, spaces.MultiBinary((self.num_envs, *one.shape)), one)
        with self._all_or_reset():
            return self._play(whole)

    def _play(self, plans: NDArray[np.int8]) -> tuple[Floats, Transition]:
        playing, everyone, done = self.playing, np.arange(self.num_envs), np.ones(self.num_envs, bool)
        cost = self._cost(self._acting.play(plans))
        reward = -np.diff(cost, axis=0, prepend=np.zeros_like(cost[:1]))
        logits = self._whole_logits(everyone)
        parts = logits.unflatten(0, (self.num_envs, -1)).unbind(1) if self._split.every_step else (logits,)
        for step, part in enumerate(parts, self.steps - len(parts)):
            self._answer(everyone, np.full(self.num_envs, step), part, reward[step])
        transition = self._outcome(reward[-1], done)
        self._learn(done)
        self._begin(everyone)
        reward[:, ~playing] = 0
        return reward, transition if playing.all() else transition.within(playing)
