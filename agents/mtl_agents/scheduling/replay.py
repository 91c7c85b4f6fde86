"""Replay buffer of a scheduler, with returns over several steps, scaled rewards and a generator of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from mtl_gym.core.rows import Array, Rows

# Minibatches that are read from the buffer at once.
TOGETHER = 8


class ScaledReplayBuffer(ReplayBuffer):
    """Replay buffer with scaled rewards, returns over several steps and its own generator.

    Args:
        *args: Arguments of SB3's buffer.
        random: Generator of the samples.
        steps: Decisions whose rewards are summed before a target value; fewer where a run ends.
        gamma: Discount factor of this sum.
        **kwargs: Keyword arguments of SB3's buffer.

    Attributes:
        scale: Factor of the rewards of samples, 1 at first; those of the buffer are as they were earned.
    """

    def __init__(self, *args: Any, random: np.random.Generator, steps: int, gamma: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale = 1.0
        self.random, self.steps, self.gamma = random, steps, gamma

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions with replacement; truncation by a time limit does not count as done."""
        return next(self.samples(1, batch_size, env))[0]

    def samples(
        self, count: int, batch_size: int, env: VecNormalize | None = None
    ) -> Iterator[list[ReplayBufferSamples]]:
        """Draw the results of `count` calls of `sample`, several of them at once."""
        for start in range(0, count, TOGETHER):
            drawn = [self._draw(batch_size) for _ in range(min(TOGETHER, count - start))]
            step, row = (np.concatenate(numbers) for numbers in zip(*drawn, strict=True))
            parts, places = self._read(step, row, env), range(0, len(step), batch_size)
            # Copies, because products of matrices depend on the alignment of memory in the last bit.
            yield [ReplayBufferSamples(*(self.to_torch(part[at : at + batch_size]) for part in parts)) for at in places]

    def _draw(self, batch_size: int) -> tuple[Rows, Rows]:
        """Draw steps and rows of transitions; int64 [batch_size] each."""
        step = self.random.integers(self.buffer_size if self.full else self.pos, size=batch_size)
        return step, self.random.integers(self.n_envs, size=batch_size)

    def _read(self, step: Rows, row: Rows, env: VecNormalize | None) -> tuple[Any, ...]:
        """Return the transitions of some steps and rows, in the order of `ReplayBufferSamples`."""
        rewards, last, discounts = self._sums(step, row, env)
        at, end = (step, row), (last, row)
        done = self.dones[end] * (1 - self.timeouts[end])
        return (
            self._normalize_obs(self.observations[at], env),
            self.actions[at],
            self._normalize_obs(self.next_observations[end], env),
            done[:, None],
            rewards[:, None],
            discounts[:, None],
        )

    def cut(self) -> None:
        """End the runs under way after the newest decision, truncated by a time limit: the next one begins new runs."""
        if not self.full and self.pos == 0:
            return
        newest = (self.pos - 1) % self.buffer_size
        self.timeouts[newest] = np.where(self.dones[newest] == 0, 1, self.timeouts[newest])
        self.dones[newest] = 1

    def _sums(
        self, step: Rows, row: Rows, env: VecNormalize | None
    ) -> tuple[NDArray[np.float32], Rows, NDArray[np.float32]]:
        """Return discounted sums of rewards, the last step of each, and the discount of the value after it.

        A sum ends with `steps` rewards, with the end of its run, or with the newest step.

        Args:
            step: First step; int64 [batch].
            row: Row of the environment; int64 [batch].
            env: Normalises rewards.

        Returns:
            float32 [batch], int64 [batch], float32 [batch].
        """
        newest = (self.pos - 1) % self.buffer_size
        total, last, discount = self._rewards(step, row, env), step.copy(), np.full(len(step), self.gamma, np.float32)
        for _ in range(self.steps - 1):
            goes_on = (self.dones[last, row] == 0) & (last != newest)
            last = np.where(goes_on, (last + 1) % self.buffer_size, last)
            total = total + np.where(goes_on, discount * self._rewards(last, row, env), 0)
            discount = np.where(goes_on, discount * np.float32(self.gamma), discount)
        return total.astype(np.float32), last, discount

    def _rewards(self, step: Rows, row: Rows, env: VecNormalize | None) -> Array:
        return self._normalize_reward(np.float32(self.scale) * self.rewards[step, row], env)

    def spread(self) -> float:
        """Return the standard deviation of discounted sums of past rewards, since the beginning of each run.

        Returns:
            Standard deviation over all stored decisions; 1 if they are all alike.

        Source: the scale of rewards in Stable-Baselines3's `VecNormalize`, over the buffer instead of running.
        """
        filled = self.buffer_size if self.full else self.pos
        sums, total = np.zeros((filled, self.n_envs)), np.zeros(self.n_envs)
        for step in range(filled):
            sums[step] = total = self.gamma * total + self.rewards[step]
            total = total * (1 - self.dones[step])
        deviation = float(sums.std())
        return deviation if deviation > 1e-8 else 1.0
