"""Keyword arguments of the routing environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.classification import FinalReward
from mtl_gym.core.classification_env import ClassificationOptions
from mtl_gym.core.ranges import SIZES, Range


@dataclass(frozen=True, kw_only=True)
class RoutingOptions(ClassificationOptions):
    """Keyword arguments of the routing environments, besides those of `ClassificationOptions`.

    Attributes:
        network: A `RoutedNetwork`, or a function that makes one; None builds the paper's network from the four fields
            below.
        depth: Routed layers.
        blocks: Blocks per routed layer; None is one per task.
        hidden: Width of the routed layers.
        layering: A depth takes the blocks of its own layer. False lets it take every block of the same shapes, whatever
            layer it was made for ("recursive"): a block may then be applied several times.
        dispatch: Adds a dispatcher (figure 3c): the first decision picks the agent that routes the input, out of so
            many, or "per-task" for one per task. None: a task's own agent routes it.
        mixture: A choice is not a block but one of as many softmax averages over all blocks as there are tasks, whose
            weights are trained with the blocks ("soft mixture").
        rho: Weight of the collaboration reward; 0 turns it off.
        invalid_reward: Reward of a masked choice, which also ends the episode.

    Defaults are the paper's.
    """

    RANGES: ClassVar[Mapping[str, Range]] = dict.fromkeys(("depth", "blocks", "hidden", "dispatch"), SIZES)

    depth: int = 3
    blocks: int | None = None
    hidden: int = 128
    layering: bool = True
    dispatch: int | str | None = None
    mixture: bool = False
    reward: str | FinalReward = "correct"
    rho: float = 0.3
    invalid_reward: float = -1.0
    lr_decay: float = 0.1
    decay_epochs: int = 10
    train_batch: int = 10

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        known = not isinstance(self.dispatch, str) or self.dispatch == "per-task"
        self._require("dispatch", known, '1 or more agents, "per-task" or None')
