"""Annealed assignment: tasks draw blocks by recent returns, at first evenly and in the end the best one only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from typing_extensions import Unpack

from mtl_agents.files import Tables
from mtl_agents.routing.decisions import Decisions, Floats, Situations
from mtl_agents.routing.exploration import annealed_softmax, rising_beta
from mtl_agents.routing.routes import LearningRouter, RouterArguments
from mtl_agents.routing.tables import move_towards
from mtl_gym.core.ranges import NOT_NEGATIVE, PART, Range
from mtl_gym.integrations.sb3 import EnvLike


class Assignment(LearningRouter):
    """Router that draws each block from a softmax over the recent returns of all blocks on the task, annealed.

    The probability of a choice is proportional to exp(beta x its mean recent return on the task at that depth). beta
    rises linearly from 0 in the first part of the training. At first all tasks train all blocks. Then small differences
    of the blocks draw tasks that agree to the same block, and drive tasks that contradict each other apart. In the end
    each task takes its best block.

    beta is in units of one over the return; the default suits answers that earn +1 or -1. With `reward="loss"`, the
    mean return is minus the loss of the block on the task.

    The table also serves pools of modules, whose masks depend on the modules chosen so far.

    Source: our own; the annealing is that of deterministic annealing for clustering (Rose 1998).

    Args:
        env: As for `Agent`.
        warm_up: Share of the training in which beta rises, in (0, 1].
        final_beta: Final beta, 0 or more.
        return_learning_rate: Step size of the mean recent returns, in (0, 1].
        **arguments: Keyword arguments of `LearningRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = Assignment("MTLRouting-GroupedDigits-v0", seed=0).learn(60)
        >>> agent.estimate.shape, float(agent.beta)  # tasks, depth, blocks and PASS
        ((12, 1, 4), 5.0)
    """

    STACKS: ClassVar[bool] = True
    TAKES_POOLS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("warm_up", "return_learning_rate"), PART),
        "final_beta": NOT_NEGATIVE,
    }

    def __init__(
        self,
        env: EnvLike,
        *,
        warm_up: float = 0.5,
        final_beta: float = 5.0,
        return_learning_rate: float = 0.05,
        **arguments: Unpack[RouterArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self.warm_up, self.final_beta, self.return_learning_rate = warm_up, final_beta, return_learning_rate
        self.beta = np.array(0.0)
        self.estimate = np.zeros((self.num_tasks, self.depth, self.num_actions))

    def _tables(self) -> Tables:
        return super()._tables() | {"estimate": self.estimate, "beta": self.beta}

    def _hyperparameters(self) -> dict[str, object]:
        own = {"warm_up": self.warm_up, "final_beta": self.final_beta}
        return super()._hyperparameters() | own | {"return_learning_rate": self.return_learning_rate}

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        """Return weights in proportion to softmax(beta x estimate); float64 [n, actions]."""
        estimate = np.where(self.valid[at.depth], self.estimate[at.task, at.depth], -np.inf)
        return annealed_softmax(estimate, float(self.beta) if explore else 1.0)

    def _update(self, decisions: Decisions) -> None:
        """Move the estimates of the choices made towards their returns, and raise beta."""
        chosen = decisions.task, decisions.depth, decisions.choice
        move_towards(self.estimate, chosen, decisions.returns, self.return_learning_rate)
        self.beta = rising_beta(self, self.final_beta, self.warm_up)
