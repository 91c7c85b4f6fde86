"""Distributions of actions, of many runs at once, for discrete, binary and continuous action spaces."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from mtl_gym.core.rows import AnySpace, Array

# Logit of what is masked, as in sb3-contrib; finite, so that entropies are.
MASKED = -1e8


class Distribution(ABC):
    """Distribution of the actions of all runs and rows."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Return actions from the noise of `ActionKind.noise`; [runs, numbers, rows]."""

    @abstractmethod
    def mode(self) -> Tensor:
        """Return the likeliest actions; [runs, numbers, rows]."""

    @abstractmethod
    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log-probabilities of actions; [runs, numbers, rows] -> float32 [runs, rows]."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Return entropies; float32 [runs, rows]."""


class ActionKind(ABC):
    """Conversion of the actor's outputs to actions of a space.

    Attributes:
        sizes: Choices of each number of an action; 0 for a real number.
        outputs: Numbers that the actor returns.
        deviations: Trained standard deviations beside them.
        dtype: Dtype of actions.
    """

    sizes: tuple[int, ...]
    outputs: int
    deviations: int = 0
    dtype: torch.dtype

    @abstractmethod
    def distribution(self, outputs: Tensor, log_std: Tensor, masks: Tensor | None) -> Distribution:
        """Return the distribution of actions.

        Args:
            outputs: Of the actor; float32 [runs, outputs, rows].
            log_std: Logarithms of the standard deviations; float32 [runs, deviations].
            masks: Valid choices of all numbers of an action; bool [runs, choices, rows], or None if all are valid.
        """

    @abstractmethod
    def noise(self, rows: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw what `Distribution.sample` needs for so many rows of each run, from the generators of the runs."""

    @abstractmethod
    def to_env(self, actions: Array) -> Array:
        """Return actions as the environment takes them; [rows, numbers] -> [rows, *action]."""


@dataclass(frozen=True)
class Categorical(Distribution):
    """Independent choices.

    Attributes:
        logits: Normalised logits; float32 [runs, numbers, choices, rows].
    """

    logits: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return choices, the winners of exponential races; int64 [runs, numbers, rows]."""
        return (self.logits.exp() / noise).argmax(2)

    def mode(self) -> Tensor:
        """Return the likeliest choices; int64 [runs, numbers, rows]."""
        return self.logits.argmax(2)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return log-probabilities of choices."""
        return self.logits.gather(2, actions.unsqueeze(2)).squeeze(2).sum(1)

    def entropy(self) -> Tensor:
        """Return entropies; masked choices count as 0."""
        return -(self.logits.exp() * self.logits).sum((1, 2))


class Choices(ActionKind):
    """Actions of Discrete, MultiDiscrete and MultiBinary spaces.

    Numbers with fewer choices than others are padded with impossible ones. A binary number has one output, the logit
    of 1, and two choices.

    Example:
        >>> kind = Choices(spaces.MultiDiscrete([2, 3]))
        >>> kind.outputs, kind.distribution(torch.zeros(1, 5, 1), torch.zeros(1, 0), None).logits.exp()[0, :, :, 0]
        (5, tensor([[0.5000, 0.5000, 0.0000],
            [0.3333, 0.3333, 0.3333]]))
    """

    dtype = torch.int64

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) -> None:
        self.space, self.binary = space, isinstance(space, spaces.MultiBinary)
        self.sizes = _sizes(space)
        self.outputs = len(self.sizes) if self.binary else sum(self.sizes)
        self._most = max(self.sizes)
        there = np.arange(self._most) < np.array(self.sizes)[:, None]
        self._places = None if there.all() else torch.from_numpy(np.flatnonzero(there))

    def distribution(self, outputs: Tensor, log_std: Tensor, masks: Tensor | None) -> Categorical:
        """Return the distribution of choices; see `ActionKind`."""
        if self.binary:
            outputs = torch.stack((torch.zeros_like(outputs), outputs), 2).flatten(1, 2)
        logits = self._padded(outputs, MASKED)
        if masks is not None:
            logits = logits.masked_fill(~self._padded(masks, False), MASKED)
        return Categorical(logits.log_softmax(2))

    def _padded(self, flat: Tensor, filling: float) -> Tensor:
        """Arrange by number and choice; [runs, choices of all, rows] -> [runs, numbers, choices, rows]."""
        if self._places is not None:
            whole = flat.new_full((len(flat), len(self.sizes) * self._most, flat.shape[2]), filling)
            flat = whole.index_copy(1, self._places.to(flat.device), flat)
        return flat.unflatten(1, (len(self.sizes), self._most))

    def noise(self, rows: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw exponential noise; float32 [runs, numbers, choices, rows]."""
        noise = torch.empty(len(generators), len(self.sizes), self._most, rows)
        for part, generator in zip(noise, generators, strict=True):
            part.exponential_(generator=generator)
        return noise

    def to_env(self, actions: Array) -> Array:
        """Return actions of the space; [rows, numbers] -> [rows, *action]."""
        start = 0 if isinstance(self.space, spaces.MultiBinary) else self.space.start
        return (actions.reshape(-1, *(self.space.shape or ())) + start).astype(self.space.dtype)


@dataclass(frozen=True)
class Gaussian(Distribution):
    """Independent normal distributions.

    Attributes:
        mean: float32 [runs, numbers, rows].
        log_std: Logarithms of the standard deviations; float32 [runs, numbers, 1].
    """

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return numbers from standard normal noise; float32 [runs, numbers, rows]."""
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        """Return the means."""
        return self.mean

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return logarithms of densities."""
        distance = (actions - self.mean) / self.log_std.exp()
        return -(0.5 * distance.square() + self.log_std + 0.5 * math.log(2 * math.pi)).sum(1)

    def entropy(self) -> Tensor:
        """Return differential entropies."""
        entropy = (self.log_std + 0.5 + 0.5 * math.log(2 * math.pi)).sum(1)
        return entropy.expand(-1, self.mean.shape[2])


class Reals(ActionKind):
    """Actions of a Box: normal around the actor's outputs, with trained deviations that do not depend on the state.

    As in SB3, the environment receives numbers clipped to the bounds of the Box, and densities are of those before.
    """

    dtype = torch.float32

    def __init__(self, space: spaces.Box) -> None:
        self.space = space
        self.outputs = self.deviations = spaces.utils.flatdim(space)
        self.sizes = (0,) * self.outputs

    def distribution(self, outputs: Tensor, log_std: Tensor, masks: Tensor | None) -> Gaussian:
        """Return the distribution of numbers; masks are ignored."""
        return Gaussian(outputs, log_std.unsqueeze(2))

    def noise(self, rows: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw standard normal noise; float32 [runs, numbers, rows]."""
        noise = torch.empty(len(generators), self.outputs, rows)
        for part, generator in zip(noise, generators, strict=True):
            part.normal_(generator=generator)
        return noise

    def to_env(self, actions: Array) -> Array:
        """Return numbers within the bounds; [rows, numbers] -> [rows, *action]."""
        numbers = actions.reshape(-1, *self.space.shape)
        return np.clip(numbers, self.space.low, self.space.high).astype(self.space.dtype)


def action_kind(space: AnySpace) -> ActionKind:
    """Return how actions of a space are chosen.

    Raises:
        ValueError: If it is no Discrete, MultiDiscrete, MultiBinary or Box space.
    """
    if isinstance(space, spaces.Box):
        return Reals(space)
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        return Choices(space)
    raise ValueError(
        f"FastPPO needs a Discrete, MultiDiscrete, MultiBinary or Box action space; this environment has {space}."
    )


def _sizes(space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) -> tuple[int, ...]:
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiBinary):
        return (2,) * spaces.utils.flatdim(space)
    return tuple(space.nvec.ravel().tolist())
