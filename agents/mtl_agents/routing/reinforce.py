"""Routers that observe the input: policy gradient and Q-learning with networks.

Source: Rosenbaum et al. 2018, section 3.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mtl_agents.files import Tables
from mtl_agents.routing.approximated import ApproximatedRouter, NetworkArguments
from mtl_agents.routing.decisions import Decisions, Floats, Situations
from mtl_agents.routing.exploration import epsilon_greedy, falling_epsilon
from mtl_agents.routing.networks import Agents
from mtl_agents.routing.tables import move_towards
from mtl_gym.core.ranges import PART, SHARES, Range
from mtl_gym.integrations.sb3 import EnvLike


class ReinforceArguments(NetworkArguments, total=False):
    """Keyword arguments of `Reinforce` but `agents`."""

    baseline_learning_rate: float


class Reinforce(ApproximatedRouter):
    """Policy-gradient agents that observe the current value, each a two-layer network.

    Source: Williams 1992; Rosenbaum et al. 2018, section 3.1.1.

    Deviation: the paper defines no baseline; we use a running mean of the returns of each task and depth.

    Args:
        env: As for `ApproximatedRouter`.
        agents: As for `Approximator`.
        baseline_learning_rate: Step size of the running mean.
        **arguments: Keyword arguments of `ApproximatedRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = Reinforce("MTLRouting-Digits-v0", agents="single", seed=0).learn(60)
        >>> sum(p.numel() for p in agent.network.parameters())
        16545
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"baseline_learning_rate": SHARES}

    def __init__(
        self,
        env: EnvLike,
        *,
        agents: Agents = "per-task",
        baseline_learning_rate: float = 0.1,
        **arguments: Unpack[NetworkArguments],
    ) -> None:
        super().__init__(env, agents=agents, **arguments)
        self.baseline_learning_rate = baseline_learning_rate
        self.baseline = np.zeros((self.num_tasks, self.depth))

    def _tables(self) -> Tables:
        return super()._tables() | {"baseline": self.baseline}

    def _hyperparameters(self) -> dict[str, object]:
        return super()._hyperparameters() | {"baseline_learning_rate": self.baseline_learning_rate}

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        with torch.no_grad():
            return self._scores(at).softmax(1).double().numpy()

    def _loss(self, decisions: Decisions) -> Tensor:
        row = decisions.task, decisions.depth
        advantage = torch.from_numpy(decisions.returns - self.baseline[row]).float()
        move_towards(self.baseline, row, decisions.returns, self.baseline_learning_rate)
        choice = torch.from_numpy(decisions.choice)
        surprise = nn.functional.cross_entropy(self._scores(decisions), choice, reduction="none")
        return (advantage * surprise).mean()


class ReinforceSingle(Reinforce):
    """One policy-gradient agent for all tasks, with the task as an input: `Reinforce(agents="single")`."""

    def __init__(self, env: EnvLike, *, agents: Agents = "single", **arguments: Unpack[ReinforceArguments]) -> None:
        super().__init__(env, agents=agents, **arguments)


class QNetwork(ApproximatedRouter):
    """Q-learning agents that observe the current value and minimise the squared temporal-difference error.

    Source: Rosenbaum et al. 2018, section 3.1.1.

    Deviation: the paper defines no exploration; ours is epsilon-greedy, as in `TabularQ`.

    Args:
        env: As for `ApproximatedRouter`.
        agents: As for `Approximator`.
        final_epsilon: Share of random choices after the exploration phase.
        exploration_fraction: Share of the training in which epsilon falls from 1 to `final_epsilon`.
        **arguments: Keyword arguments of `ApproximatedRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = QNetwork("MTLRouting-Digits-v0", seed=0).learn(60)
        >>> agent.network.num_blocks  # one per task and depth
        30
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"final_epsilon": SHARES, "exploration_fraction": PART}

    def __init__(
        self,
        env: EnvLike,
        *,
        agents: Agents = "per-task",
        final_epsilon: float = 0.05,
        exploration_fraction: float = 0.2,
        **arguments: Unpack[NetworkArguments],
    ) -> None:
        super().__init__(env, agents=agents, **arguments)
        self.final_epsilon, self.exploration_fraction = final_epsilon, exploration_fraction
        self.epsilon = np.array(1.0)

    def _tables(self) -> Tables:
        return super()._tables() | {"epsilon": self.epsilon}

    def _hyperparameters(self) -> dict[str, object]:
        exploration = {"final_epsilon": self.final_epsilon, "exploration_fraction": self.exploration_fraction}
        return super()._hyperparameters() | exploration

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        with torch.no_grad():
            values = self._scores(at).numpy()
        return epsilon_greedy(values, self.valid[at.depth], self.epsilon if explore else 0)

    def _loss(self, decisions: Decisions) -> Tensor:
        values = self._scores(decisions)
        best = values.detach().max(1).values.numpy()
        target = decisions.reward + self.gamma * np.where(decisions.last, 0, np.roll(best, -1))
        self.epsilon = falling_epsilon(self, self.final_epsilon, self.exploration_fraction)
        chosen = values.gather(1, torch.from_numpy(decisions.choice)[:, None])[:, 0]
        return (torch.from_numpy(target).float() - chosen).square().mean()
