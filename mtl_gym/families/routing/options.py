"""Keyword arguments of the routing environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.classification import FinalReward
from mtl_gym.core.held_out import HeldOutOptions
from mtl_gym.core.ranges import SIZES, Range


@dataclass(frozen=True, kw_only=True)
class RoutingOptions(HeldOutOptions):
    """Keyword arguments of the routing environments, besides those of `HeldOutOptions`.

    Attributes:
        network: `RoutedNetwork`, or a function of one `NetworkContext` that returns one; None builds the paper's
            network from the next four fields.
        depth: Number of routed layers.
        blocks: Number of blocks per routed layer; None or "per-task" for one per task.
        hidden: Width of the routed layers.
        layering: If True, each depth uses the blocks of its own layer. If False, each depth uses all hidden blocks of
            equal shape ("recursive"), so that a route may apply a block several times.
        dispatch: Number of agents of a dispatcher (figure 3c), or "per-task" for one per task: the first decision picks
            the agent that routes the input. None for no dispatcher: each task has its own agent.
        mixture: If True, choices are not blocks but one softmax average over all blocks per task, with weights trained
            together with the blocks ("soft mixture").
        rho: Weight of the collaboration reward; 0 turns it off.
        invalid_reward: Reward of a masked choice, which also ends the episode.

    Defaults are the paper's.
    """

    RANGES: ClassVar[Mapping[str, Range]] = dict.fromkeys(("depth", "blocks", "hidden", "dispatch"), SIZES)
    BLOCKS: ClassVar[tuple[str, ...]] = ("per-task",)  # names that `blocks` takes

    depth: int = 3
    blocks: int | str | None = None
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
        """Raise ValueError for invalid values."""
        super().__post_init__()
        known = not isinstance(self.dispatch, str) or self.dispatch == "per-task"
        self._require("dispatch", known, '1 or more agents, "per-task" or None')
        known = not isinstance(self.blocks, str) or self.blocks in self.BLOCKS
        self._require("blocks", known, f"1 or more blocks, one of {self.BLOCKS} or None")
