"""Base class of routers that observe the input through small networks.

Source: Rosenbaum et al. 2018, section 3.1.1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor
from typing_extensions import Unpack

from mtl_agents.routing.decisions import Decisions, Situations
from mtl_agents.routing.networks import Agents, Approximator, Trained, masked
from mtl_agents.routing.routes import LearningRouter, RouterArguments
from mtl_gym.core.ranges import POSITIVE, SIZES, Range
from mtl_gym.families.routing.network import RoutedNetwork
from mtl_gym.integrations.sb3 import EnvLike


class GateArguments(RouterArguments, total=False):
    """Keyword arguments of `ApproximatedRouter` but `agents` and `learning_rate`."""

    per_layer: bool
    hidden: int


class NetworkArguments(GateArguments, total=False):
    """Keyword arguments of `ApproximatedRouter` but `agents`."""

    learning_rate: float


class ApproximatedRouter(LearningRouter):
    """Router whose agents are two-layer networks that score choices from the current value.

    A subclass implements `_probabilities` and `_loss`.

    Args:
        env: As for `Agent`, with a `value` in its observation.
        agents: As for `Approximator`.
        per_layer: As for `Approximator`.
        hidden: Width of the hidden layer.
        learning_rate: Learning rate of Adam.
        **arguments: Keyword arguments of `LearningRouter` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.
    """

    LOOKS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {"hidden": SIZES, "learning_rate": POSITIVE}
    trained: Trained

    def __init__(
        self,
        env: EnvLike,
        *,
        agents: Agents = "per-task",
        per_layer: bool = True,
        hidden: int = 64,
        learning_rate: float = 1e-3,
        **arguments: Unpack[RouterArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self.approximator = Approximator(self.num_tasks, self.depth, agents, per_layer)
        self.hidden, self.learning_rate = hidden, learning_rate
        make = lambda: self.approximator.network(self.width, hidden, self.num_actions)  # noqa: E731
        self.trained = Trained(make, learning_rate, self.np_random)

    @property
    def network(self) -> RoutedNetwork:
        """Networks of all agents."""
        return self.trained.network

    def _hyperparameters(self) -> dict[str, object]:
        networks = {"agents": self.approximator.agents, "per_layer": self.approximator.per_layer}
        return super()._hyperparameters() | networks | {"hidden": self.hidden, "learning_rate": self.learning_rate}

    def _scores(self, at: Situations) -> Tensor:
        """Return the scores of all choices, minus infinity for invalid ones; float32 [n, actions]."""
        return masked(self.approximator.outputs(self.network, at), self.valid[at.depth])

    def _update(self, decisions: Decisions) -> None:
        self.trained.descend(self._loss(decisions))

    @abstractmethod
    def _loss(self, decisions: Decisions) -> Tensor:
        """Return the loss, a scalar."""
