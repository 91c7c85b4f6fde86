"""A dispatcher that learns which agent routes which input, over agents that learn to route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mtl_agents.files import Tables
from mtl_agents.routing.networks import Trained, masked, of_groups, perceptrons
from mtl_agents.routing.router import Index, dispatched_agents
from mtl_agents.routing.routes import Decisions, Floats, Situations
from mtl_agents.routing.tables import Averaging, PolicyArguments, TabularPolicyGradient, Weighting, move_towards
from mtl_gym.core.ranges import POSITIVE, SIZES, Range
from mtl_gym.integrations.sb3 import EnvLike

At = TypeVar("At", bound=Situations)


class Dispatched(TabularPolicyGradient):
    """Weighted policy learners of whom a dispatcher, which sees value and task, picks one for each input.

    The environment's first decision is the dispatcher's (`dispatch=...`). It learns by REINFORCE; those that it picks
    from are the agents of `WPL`, which keep a table per depth each and do not know the task.

    Source: Rosenbaum et al. 2018, figure 3(c) ("routing-all-fc dispatched").

    Deviation: the paper does not say how its dispatcher learns. This one is the two-layer network of its other
    approximators, with a running mean of each task's returns as baseline.

    Args:
        env: As for `Agent`, made with `dispatch`.
        hidden: Width of the dispatcher's hidden layer.
        dispatcher_learning_rate: Of Adam, for the dispatcher.
        weighting: As for `WPL`.
        average: As for `WPL`.
        **arguments: Of `TabularPolicyGradient` and `Agent`.

    Attributes:
        policy: The agents' tables; float64 [agents, depth, actions], of which depth 0 is the dispatcher's and unused.
        baseline: Mean return per task; float64 [tasks].

    Raises:
        ValueError: If an argument has a value that is not allowed, or the environment has no dispatcher.

    Example:
        >>> agent = Dispatched("MTLRouting-Digits-v0", seed=0).learn(80)
        >>> agent.depth, agent.num_agents
        (4, 10)
    """

    ENV_KWARGS: ClassVar[Mapping[str, Any]] = {"dispatch": "per-task"}
    LOOKS: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {"hidden": SIZES, "dispatcher_learning_rate": POSITIVE}

    trained: Trained

    def __init__(
        self,
        env: EnvLike,
        *,
        hidden: int = 64,
        dispatcher_learning_rate: float = 1e-3,
        weighting: Weighting = "rosenbaum",
        average: Averaging = "decision",
        **arguments: Unpack[PolicyArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self._weigh_steps(weighting, average)
        self.hidden, self.dispatcher_learning_rate = hidden, dispatcher_learning_rate
        self.baseline = np.zeros(self.num_tasks)
        inputs = self.width + self.num_tasks
        make = lambda: perceptrons(1, inputs, hidden, self.num_actions)  # noqa: E731
        self.trained = Trained(make, dispatcher_learning_rate, self.np_random)

    def _tables(self) -> Tables:
        return super()._tables() | {"baseline": self.baseline}

    @property
    def num_agents(self) -> int:
        """Number of agents that the dispatcher picks from."""
        return dispatched_agents(self.observation_space)

    @property
    def _looks_back(self) -> bool:
        return True  # the first choice tells the agent in charge

    def _hyperparameters(self) -> dict[str, object]:
        own = {"hidden": self.hidden, "dispatcher_learning_rate": self.dispatcher_learning_rate}
        return super()._hyperparameters() | own

    @property
    def diagnostics(self) -> dict[str, float]:
        """How decided the picked agents are; as for `TabularPolicyGradient`."""
        return self._decidedness(slice(1, None))

    def _in_charge(self, at: Situations) -> Index:
        """The agent picked; while it is being picked, agent 0 stands for the dispatcher."""
        return np.maximum(at.earlier[:, 0], 0)

    def _collaborate(self, at: Situations, choice: Index, weights: Floats) -> None:
        super()._collaborate(at, choice, weights)
        self._bonus[at.depth == 0] = 0

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        weights = self.policy[self._in_charge(at), at.depth]
        first = np.flatnonzero(at.depth == 0)
        if len(first):
            with torch.no_grad():
                weights[first] = self._dispatch(select(at, first)).softmax(1).double().numpy()
        return weights

    def _dispatch(self, at: Situations) -> Tensor:
        """The dispatcher's logits; float32 [n, actions], minus infinity where there is no agent."""
        told = np.eye(self.num_tasks, dtype=np.float32)[at.task]
        x = torch.from_numpy(np.concatenate([at.value, told], 1))
        return masked(of_groups(self.trained.network, x, np.zeros_like(at.task)), self.valid[at.depth])

    def _update(self, decisions: Decisions) -> None:
        first = decisions.depth == 0
        self._teach_dispatcher(select(decisions, np.flatnonzero(first)))
        routing = select(decisions, np.flatnonzero(~first))
        super()._update(replace(routing, task=self._in_charge(routing)))

    def _teach_dispatcher(self, picks: Decisions) -> None:
        advantage = torch.from_numpy(picks.returns - self.baseline[picks.task]).float()
        move_towards(self.baseline, (picks.task,), picks.returns, self.return_learning_rate)
        choice = torch.from_numpy(picks.choice)
        surprise = nn.functional.cross_entropy(self._dispatch(picks), choice, reduction="none")
        self.trained.descend((advantage * surprise).mean())


def select(at: At, entries: Index) -> At:
    """Return some entries of situations or decisions."""
    return replace(at, **{name: values[entries] for name, values in vars(at).items()})
