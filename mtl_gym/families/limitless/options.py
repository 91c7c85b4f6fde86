"""Keyword arguments of the limitless routing environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.held_out import HeldOutOptions
from mtl_gym.core.ranges import SIZES, Range


@dataclass(frozen=True, kw_only=True)
class LimitlessOptions(HeldOutOptions):
    """Keyword arguments of the limitless environments, besides those of `HeldOutOptions`.

    Attributes:
        network: `ModulePool` used as a template, with weights redrawn for every seed, or a function of one
            `NetworkContext` that returns a pool. None builds the paper's modules from the next four fields.
        image_shape: Input shape (channels, height, width) of router and modules: flat inputs are reshaped, images are
            downsampled by averaging. None keeps the shape of the data set.
        duplicates: Number of copies of each module.
        filters: Number of filters of each convolution.
        hidden: Width of fully connected modules.
        max_depth: Maximum number of decisions per network, including PASS.
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
