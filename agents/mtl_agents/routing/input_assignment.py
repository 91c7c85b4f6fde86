"""Annealed assignment per input: a gate predicts the return of every block from the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from mtl_agents.files import Tables
from mtl_agents.routing.approximated import ApproximatedRouter, GateArguments
from mtl_agents.routing.decisions import Decisions, Floats, Situations
from mtl_agents.routing.exploration import annealed_softmax, rising_beta
from mtl_agents.routing.networks import Agents
from mtl_gym.core.ranges import NOT_NEGATIVE, PART, Range
from mtl_gym.integrations.sb3 import EnvLike


class InputAssignment(ApproximatedRouter):
    """Router that draws each block from a softmax over the returns that a gate predicts, annealed.

    `Assignment` with a network in place of the table: the gate sees the current value and the task, and predicts the
    return of every choice by least squares on the returns of the choices made. The probability of a choice is
    proportional to exp(beta x its prediction), and beta rises linearly from 0 in the first part of the training. At
    first all blocks see all inputs. Then small differences of the blocks draw inputs that agree to the same block. In
    the end each input takes the block of the largest prediction. With `reward="loss"` that is the block of least loss.

    Source: our own; a gate that assigns inputs to experts is that of Jacobs et al. 1991, the annealing that of
    deterministic annealing for clustering (Rose 1998).

    Deviation: Jacobs et al. train the gate on the losses of all experts; here only the chosen block's return is known.

    Args:
        env: As for `ApproximatedRouter`.
        agents: As for `Approximator`. "single", the default, learns one gate from all tasks. "per-task" suits tasks in
            which equal inputs ask for different blocks.
        warm_up: Share of the training in which beta rises, in (0, 1].
        final_beta: Final beta, 0 or more, in units of one over the return.
        learning_rate: Learning rate of Adam.
        **arguments: Keyword arguments of `ApproximatedRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = InputAssignment("MTLRouting-Context-v0", seed=0).learn(60)
        >>> agent.network.num_blocks, float(agent.beta)  # one gate for all tasks
        (1, 5.0)
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"warm_up": PART, "final_beta": NOT_NEGATIVE}

    def __init__(
        self,
        env: EnvLike,
        *,
        agents: Agents = "single",
        warm_up: float = 0.5,
        final_beta: float = 5.0,
        learning_rate: float = 3e-3,
        **arguments: Unpack[GateArguments],
    ) -> None:
        super().__init__(env, agents=agents, learning_rate=learning_rate, **arguments)
        self.warm_up, self.final_beta = warm_up, final_beta
        self.beta = np.array(0.0)

    def _tables(self) -> Tables:
        return super()._tables() | {"beta": self.beta}

    def _hyperparameters(self) -> dict[str, object]:
        return super()._hyperparameters() | {"warm_up": self.warm_up, "final_beta": self.final_beta}

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        """Return weights in proportion to softmax(beta x prediction); float64 [n, actions]."""
        with torch.no_grad():
            predicted = self._scores(at).double().numpy()
        return annealed_softmax(predicted, float(self.beta) if explore else 1.0)

    def _loss(self, decisions: Decisions) -> Tensor:
        """Return the mean squared error of the predictions, and raise beta."""
        self.beta = rising_beta(self, self.final_beta, self.warm_up)
        predicted = self._scores(decisions).gather(1, torch.from_numpy(decisions.choice)[:, None])[:, 0]
        return (torch.from_numpy(decisions.returns).float() - predicted).square().mean()
