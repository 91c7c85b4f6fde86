"""Keyword arguments of the limitless routing environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.classification_env import ClassificationOptions
from mtl_gym.core.ranges import SIZES, Range


@dataclass(frozen=True, kw_only=True)
class LimitlessOptions(ClassificationOptions):
    """Keyword arguments of the limitless environments, besides those of `ClassificationOptions`.

    Attributes:
        network: A `ModulePool` as a template, whose weights are drawn anew from every seed, or a function of one
            `NetworkContext` that makes one. None builds the paper's modules from the next four fields.
        image_shape: Shape (channels, height, width) of the inputs of router and modules: flat inputs are folded, images
            are shrunk by averaging. None leaves inputs as they are.
        duplicates: Copies of each module.
        filters: Filters of each convolution.
        hidden: Width of fully connected modules.
        max_depth: Decisions per network, PASS included.
        bonus: Weight of the diversity bonus (eq. 6); True is 1, False turns it off.
        invalid_reward: Reward of a masked choice, which also ends the episode.

    Defaults are the paper's.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("image_shape", "duplicates", "filters", "hidden", "max_depth"), SIZES),
        "bonus": Range(0, 10),
    }

    image_shape: Sequence[int] | None = None
    duplicates: int = 5
    filters: int = 32
    hidden: int = 256
    max_depth: int = 4
    bonus: bool | float = True
    invalid_reward: float = -10.0
    learning_rate: float = 1e-4
    train_batch: int = 128
