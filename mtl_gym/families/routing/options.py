"""The keyword arguments of the routing environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import COUNTS, SIZES, Range
from mtl_gym.families.routing.rewards import FinalReward


@dataclass(frozen=True, kw_only=True)
class RoutingOptions(EnvOptions):
    """Keyword arguments of the routing environments, besides those of `EnvOptions`; defaults are the paper's.

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
        reward: Final reward: "correct" (+1, -1), "loss" (minus the cross-entropy), or a callable of
            (logits [rows, classes], label [rows], task [rows]) that gives [rows].
        rho: Weight of the collaboration reward; 0 turns it off.
        invalid_reward: What a masked choice earns; it also ends the episode.
        decay_epochs: The learning rate is divided by 10 every so many epochs.
        train_batch: Episodes per update; rounded up to a multiple of `num_envs`.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("depth", "blocks", "hidden", "dispatch"), SIZES),
        **dict.fromkeys(("decay_epochs", "train_batch"), COUNTS),
    }

    depth: int = 3
    blocks: int | None = None
    hidden: int = 128
    layering: bool = True
    dispatch: int | str | None = None
    mixture: bool = False
    reward: str | FinalReward = "correct"
    rho: float = 0.3
    invalid_reward: float = -1.0
    decay_epochs: int = 10
    train_batch: int = 10

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        known = not isinstance(self.dispatch, str) or self.dispatch == "per-task"
        self._require("dispatch", known, '1 or more agents, "per-task" or None')
