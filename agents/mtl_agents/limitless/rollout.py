"""Rollout buffer of LRN: whole episodes, with the rewards of equation 7 at every step.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning"), equations 6 and 7.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer
from torch import Tensor

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.rows import Array
from mtl_gym.families.limitless.rewards import diversity_bonus


class BonusRolloutBuffer(MaskableDictRolloutBuffer):
    """Rollout buffer in which each time step earns the final reward of its episode plus the bonus of its module.

    The final reward is known at the end of an episode, so a rollout trains the steps of ended episodes only. Steps of
    unfinished episodes are carried into the next rollout, with their original values and probabilities.

    Args:
        buffer_size: Number of time steps in a rollout.
        *args: Positional arguments of sb3-contrib's buffer.
        bonus: Weight of the diversity bonus; 0 turns it off.
        random: Generator that shuffles minibatches.
        **kwargs: Keyword arguments of sb3-contrib's buffer.

    Attributes:
        carried: Steps of unfinished episodes of the last rollout, None if unknown; [max_depth - 1, num_envs, ...] each.
        trained: Mask of the steps of ended episodes; bool [max_depth - 1 + buffer_size, num_envs].

    Source: LRN, eqs. 6 and 7.
    """

    carried: dict[str, Array] | None = None

    def __init__(self, buffer_size: int, *args: Any, bonus: float, random: np.random.Generator, **kwargs: Any) -> None:
        space = args[0] if args else kwargs["observation_space"]
        self.bonus, self.random, self.tail = bonus, random, space["chosen"].shape[0] - 1
        super().__init__(buffer_size + self.tail, *args, **kwargs)

    def reset(self) -> None:
        """Begin a rollout after the carried steps."""
        super().reset()
        self.pos = self.tail
        self.trained = np.arange(self.buffer_size)[:, None].repeat(self.n_envs, 1) >= self.tail
        for name, carried in (self.carried or {}).items():
            self._arrays()[name][: self.tail] = carried

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add a step and drop the carried steps, which an interrupted rollout would make invalid."""
        self.carried = None
        super().add(*args, **kwargs)

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[np.bool_]) -> None:
        """Add the rewards of equation 7, then compute returns and advantages as PPO."""
        ends = np.append(self.episode_starts[1:], dones[None], 0).astype(bool)
        finished = np.logical_or.accumulate(ends[::-1])[::-1]
        known = self.trained.copy()
        known[: self.tail] &= self.episode_starts[self.tail] == 0  # a reset ends carried episodes
        self.trained = known & ~finished
        self.carried = {name: array[len(array) - self.tail :].copy() for name, array in self._arrays().items()}
        self.trained = known & finished
        self._pay(ends)
        super().compute_returns_and_advantage(last_values, dones)

    def _pay(self, ends: NDArray[np.bool_]) -> None:
        """Add the final reward to earlier steps, and to each step the bonus of its module; PASS has none."""
        steps = np.where(ends, np.arange(len(ends))[:, None], len(ends) - 1)
        last = np.minimum.accumulate(steps[::-1])[::-1]
        final = np.take_along_axis(self.rewards, last, 0)
        pool, choices = self.mask_dims - 1, self.actions[..., 0].astype(np.int64)
        counts = np.bincount(choices[self.trained], minlength=pool + 1)[:pool]
        bonus = np.append(self.bonus * diversity_bonus(counts), 0)[choices]
        self.rewards += np.where(self.trained, np.where(ends, 0, final) + bonus, 0).astype(np.float32)

    def _arrays(self) -> dict[str, Array]:
        seen = {f"obs.{key}": part for key, part in self.observations.items()}
        chosen = {"actions": self.actions, "values": self.values, "log_probs": self.log_probs}
        flags = {"masks": self.action_masks, "starts": self.episode_starts, "known": self.trained}
        return seen | chosen | flags | {"rewards": self.rewards}

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """Yield shuffled minibatches of nearly equal size, at most `batch_size`."""
        if not self.generator_ready:
            trained = self.trained.swapaxes(0, 1).ravel()
            self.observations = {key: self.swap_and_flatten(part)[trained] for key, part in self.observations.items()}
            flat = lambda array: self.swap_and_flatten(array)[trained]  # noqa: E731
            self.actions, self.values, self.log_probs = flat(self.actions), flat(self.values), flat(self.log_probs)
            self.advantages, self.returns = flat(self.advantages), flat(self.returns)
            self.action_masks = flat(self.action_masks)
            self.generator_ready = True
        order = self.random.permutation(len(self.actions))
        for chosen in np.array_split(order, -(-len(order) // (batch_size or len(order)))):
            yield self._get_samples(chosen)

    def state(self) -> dict[str, Tensor] | None:
        """Return the carried steps as tensors, or None."""
        return None if self.carried is None else {name: torch.tensor(part) for name, part in self.carried.items()}

    def load(self, state: dict[str, Tensor] | None) -> None:
        """Restore `state`.

        Raises:
            CheckpointError: If its shapes do not match this rollout.
        """
        carried = None if state is None else {name: value.numpy().copy() for name, value in state.items()}
        before, self.carried = self.carried, None
        self.reset()  # minibatches flatten the arrays
        wanted = {name: ((self.tail, *part.shape[1:]), part.dtype.kind) for name, part in self._arrays().items()}
        if carried is not None and {name: (part.shape, part.dtype.kind) for name, part in carried.items()} != wanted:
            self.carried = before
            raise CheckpointError(f"The saved steps do not match this rollout, which carries {wanted}.")
        self.carried = carried
