"""The keyword arguments of the limitless routing environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.classification import FinalReward
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import COUNTS, PART, SIZES, Range
from mtl_gym.families.limitless.pool import ModulePool


@dataclass(frozen=True, kw_only=True)
class LimitlessOptions(EnvOptions):
    """Keyword arguments of the limitless environments, besides those of `EnvOptions`; defaults are the paper's.

    Attributes:
        image_shape: (channels, height, width) in which router and modules get the inputs: flat inputs are folded,
            images are shrunk by averaging. None leaves inputs as they are.
        pool: A `ModulePool` as a template, whose weights are drawn anew from every seed, or a function that makes one.
            None builds the paper's modules from the next three fields.
        duplicates: Copies of each module.
        filters: Of each convolution.
        hidden: Width of fully connected modules.
        max_depth: Decisions per network, PASS included.
        reward: Final reward: "loss" (minus the cross-entropy), "correct" (+1, -1), or a callable of
            (logits [rows, classes], label [rows], task [rows]) that gives [rows].
        bonus: Weight of the diversity bonus (eq. 6); True is 1, False turns it off.
        invalid_reward: What a masked choice earns; it also ends the episode.
        learning_rate: Adam's, for the modules.
        lr_decay: The learning rate is multiplied with this after every pass over the training data.
        train_batch: Episodes per update, at least.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("image_shape", "duplicates", "filters", "hidden", "max_depth"), SIZES),
        "train_batch": COUNTS,
        "bonus": Range(0, 10),
        "lr_decay": PART,
    }

    image_shape: Sequence[int] | None = None
    pool: ModulePool | Callable[[], ModulePool] | None = None
    duplicates: int = 5
    filters: int = 32
    hidden: int = 256
    max_depth: int = 4
    reward: str | FinalReward = "loss"
    bonus: bool | float = True
    invalid_reward: float = -10.0
    learning_rate: float = 1e-4
    lr_decay: float = 0.97
    train_batch: int = 128
