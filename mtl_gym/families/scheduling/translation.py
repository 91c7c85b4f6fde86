"""Scheduling of translation with tagging and parsing as helpers.

Source: QLS, section 5.3 and table 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.episode import TrainingResult
from mtl_gym.core.extras import require
from mtl_gym.core.instances import GeneratedOptions
from mtl_gym.core.measure import Measure
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import Range
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.env import SchedulingVectorEnv
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.options import SchedulingOptions
from mtl_gym.families.scheduling.translation_data import HELPERS, TRANSLATION, translation
from mtl_gym.families.scheduling.translation_grammar import NAME
from mtl_gym.families.scheduling.translation_network import bleu, decoded, translation_network

# Number of the task translation.
TARGET = 0
BLEU = Measure("BLEU", higher=True, decimals=2)


@dataclass(frozen=True, kw_only=True)
class TranslationOptions(SchedulingOptions, GeneratedOptions):
    """Keyword arguments of `TranslationVectorEnv`, besides those of `SchedulingOptions`.

    Attributes:
        pairs: Training sentences with a translation; tagging and parsing have 5,000 sentences each.
        helpers: Tasks beside translation: "tagging", "parsing", both, or none.

    Data are generated: `data` is "translation".
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"pairs": Range(10, 100_000)}

    data: str | MultiTaskDataset = NAME
    updates: int = 1200
    updates_per_step: int = 30
    minibatch: int = 16
    learning_rate: float = 0.005
    validation_samples: int | None = 32
    hard_samples: int = 16
    reference: str | float | Sequence[float] | None = None
    target_tasks: Sequence[str | int] | None = (TRANSLATION,)
    pairs: int = 400
    helpers: Sequence[str] = HELPERS

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        self._only("data are generated", data=NAME)
        self._only("BLEU is the figure of translation", target_tasks=(TRANSLATION,))
        known = isinstance(self.helpers, list | tuple) and list(self.helpers) == [
            h for h in HELPERS if h in self.helpers
        ]
        self._require("helpers", known, f"some of {HELPERS}, in this order")


class TranslationVectorEnv(SchedulingVectorEnv):
    """Training runs of an encoder-decoder whose encoder is shared by translation, tagging and parsing.

    Translation is the target; tagging and parsing of the same language are helpers. Every task predicts a sequence from
    the source sentence: a translation, parts of speech, or dependency heads with relations.

    * Reward: as in `SchedulingVectorEnv`, of translation alone.
    * Figure: BLEU of greedy translations of test sentences.
    * `final_info`: in an evaluation view, `accuracy` of translation is BLEU / 100. Elsewhere, and for the other tasks,
      it is the share of labels that are predicted from the true labels before them.

    Source: QLS, section 5.3 and table 6.

    Deviation: the paper translates English to German (WMT'14) and learns tags and trees from treebanks. Here all three
    are of a generated language (`translation_grammar`). Heads are labels, without a decoder for trees.

    Example:
        >>> env = TranslationVectorEnv(num_envs=2)
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(np.array([0, 1]))
        >>> env.task_names
        ('translation', 'tagging', 'parsing')
    """

    Options: ClassVar[type[EnvOptions]] = TranslationOptions
    MEASURE: ClassVar[Measure] = BLEU
    options: TranslationOptions

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        require("BLEU, the figure of translations,", "sacrebleu")
        super().__init__(num_envs, **options)

    def figure(self, accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
        """Return BLEU."""
        return float(100 * accuracy[TARGET])

    def _load_data(self) -> MultiTaskDataset:
        return translation(self.options.pairs, self.options.instance).part([TRANSLATION, *self.options.helpers])

    def _network_for(self, data: MultiTaskDataset) -> SharedNetwork:
        return translation_network(data)

    def _result(self, split: str) -> TrainingResult:
        result = super()._result(split)
        if self.evaluated_split is not None:
            result.accuracy[:, TARGET] = self._bleu()
        return result

    def _bleu(self) -> list[float]:
        """Return BLEU / 100 of every run."""
        held_out = self._measured_at_end
        found = decoded(self.trained, held_out.x[TARGET], TARGET, self.data.num_classes)
        return [bleu(own, held_out.y[TARGET], self.data.class_names[TARGET]) for own in found]


class TranslationEnv(BatchOfOne):
    """Single training run, as returned by `gym.make("MTLScheduling-Translation-v0")`.

    Args:
        **options: Fields of `TranslationOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLScheduling-Translation-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(0)
    """

    vector_class = TranslationVectorEnv
