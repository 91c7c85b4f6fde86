"""Data mixing: what to train a language model on, so that a scarce target is modelled best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.measure import Measure
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import Range
from mtl_gym.core.rows import Array
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.roots import data_root
from mtl_gym.families.scheduling.known import KnownOptions, KnownScheduleVectorEnv
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.text_mixture_data import (
    BYTES,
    CONTEXT,
    NAME,
    RELATED,
    SYMBOLS,
    TARGET,
    generated,
    is_present,
    real,
)

TEXTS = ("generated", "reviews", "auto")
EMBEDDING, HIDDEN = 8, 32
BITS_PER_BYTE = Measure("bits per byte", higher=False)
# Best schedule of the search (benchmarks/optima), in equal parts of a run: 0 is the target, 1 and 2 are related.
BEST = (0, 1, 2, 0, 1, 2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class TextMixtureOptions(KnownOptions):
    """Keyword arguments of `TextMixtureVectorEnv`, besides those of `SchedulingOptions`.

    Attributes:
        text: "generated", "reviews" (real text, from the data root), or "auto": real text where the data root has it.
            By default generated, so that figures are the same on every machine.
        target_bytes: Training bytes of the target; all other sources have 20,000.
        junk: Number of sources of uniformly random bytes.

    `data` is "text-mixture", and `data_root` the folder of "reviews" and WikiText-2.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"target_bytes": Range(10, BYTES), "junk": Range(0, 100)}

    data: str | MultiTaskDataset = NAME
    updates: int = 48
    updates_per_step: int = 6
    minibatch: int = 48
    learning_rate: float = 0.02
    target_tasks: Sequence[str | int] | None = (TARGET,)
    text: str = "generated"
    target_bytes: int = 1000
    junk: int = 2

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        self._only("use text to choose", data=NAME)
        self._require("text", self.text in TEXTS, f"one of {TEXTS}")


class TextMixtureVectorEnv(KnownScheduleVectorEnv):
    """Training runs of a small language model of bytes, of which only the loss on a scarce target counts.

    Sources are "target", which is small; "related 1" and "related 2", other domains; "unrelated"; and "junk 1",
    "junk 2", ..., uniformly random bytes. The model reads 3 bytes and predicts the next one, with one output for all
    sources. The order of the sources is secret.

    * Observation: float32 [num_envs, 3 * tasks + 1]: `progress_features`.
    * Action: int64 [num_envs] in [0, tasks): the source of the next `updates_per_step` minibatches.
    * Reward: float32 [num_envs]: the decrease in bits per byte on validation text of the target.
    * Termination: after `updates` gradient steps, which are part of the problem. Episodes are never truncated.
    * Figure: bits per byte on test text of the target; lower is better.
    * Dials: `junk`, `target_bytes`, `updates`. `instance` draws other sources and another order.
    * Optimum: the best schedule of a search; see benchmarks/optima/text_mixture.py.

    Example:
        >>> env = TextMixtureVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> for _ in range(env.run_length):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> bits = env.figure(info["final_info"]["accuracy"].mean(0), info["final_info"]["loss"].mean(0))
        >>> bool(bits < 4.6)  # symbols without a model have 5 bits
        True
    """

    Options: ClassVar[type[EnvOptions]] = TextMixtureOptions
    STACKS: ClassVar[bool] = True
    MEASURE: ClassVar[Measure] = BITS_PER_BYTE
    options: TextMixtureOptions

    @property
    def text(self) -> str:
        """Text in use, "reviews" or "generated"."""
        if self.options.text != "auto":
            return self.options.text
        return "reviews" if is_present(data_root(self.options.data_root)) else "generated"

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of all sources: the target, the related ones, then the others."""
        first = (TARGET, *RELATED)
        return (*first, *sorted(set(self.task_names) - set(first)))

    @property
    def plan(self) -> tuple[int, ...]:
        """The best schedule that is known, in equal parts of a run: 0 is the target, 1 and 2 are related."""
        return BEST

    def figure(self, accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
        """Return the bits per byte of the target."""
        return float(-self._worth(accuracy, loss))

    def _worth(self, accuracy: Array, loss: Array) -> Array:
        return -loss[..., self._paying].mean(-1) / log(2)

    def _load_data(self) -> MultiTaskDataset:
        size, junk, instance = self.options.target_bytes, self.options.junk, self.options.instance
        if self.text == "generated":
            return generated(size, junk, instance)
        return real(data_root(self.options.data_root), size, junk, instance)

    def _network_for(self, data: MultiTaskDataset) -> SharedNetwork:
        return SharedNetwork(WindowModel(), nn.Identity())


class WindowModel(nn.Module):
    """Logits of the next symbol from a window: embeddings, and a perceptron with one hidden layer.

    Example:
        >>> WindowModel()(torch.zeros(5, 3)).shape
        torch.Size([5, 32])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, EMBEDDING)
        self.hidden, self.output = nn.Linear(CONTEXT * EMBEDDING, HIDDEN), nn.Linear(HIDDEN, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of windows; float32 [rows, CONTEXT] -> [rows, SYMBOLS]."""
        return self.output(torch.relu(self.hidden(self.embedding(x.long()).flatten(1))))


class TextMixtureEnv(BatchOfOne):
    """Single training run of a language model, as returned by `gym.make("MTLScheduling-TextMixture-v0")`.

    Args:
        **options: Fields of `TextMixtureOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLScheduling-TextMixture-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
    """

    vector_class = TextMixtureVectorEnv
