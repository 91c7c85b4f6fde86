"""Learned dispatcher that assigns inputs to learning routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mtl_agents.files import Tables
from mtl_agents.routing.decisions import Decisions, Floats, Situations
from mtl_agents.routing.networks import Trained, masked, of_groups, perceptrons
from mtl_agents.routing.router import Index, dispatched_agents
from mtl_agents.routing.tables import Averaging, PolicyArguments, TabularPolicyGradient, Weighting, move_towards
from mtl_gym.core.ranges import POSITIVE, SIZES, Range
from mtl_gym.integrations.sb3 import EnvLike

At = TypeVar("At", bound=Situations)


class Dispatched(TabularPolicyGradient):
    """Weighted policy learners, one of which a dispatcher picks for each input from its value and task.

    The dispatcher makes the first decision of a route (`dispatch=...`) and learns by REINFORCE. The agents are those
    of `WPL`, with one table per depth; they do not observe the task.

    Source: Rosenbaum et al. 2018, figure 3(c) ("routing-all-fc dispatched").

    Deviation: the paper does not define the training of its dispatcher. Ours is a two-layer network, as its other
    approximators, with a running mean of the returns of each task as baseline.

    Args:
        env: As for `Agent`, made with `dispatch`.
        hidden: Width of the dispatcher's hidden layer.
        dispatcher_learning_rate: Learning rate of the dispatcher (Adam).
        weighting: As for `WPL`.
        average: As for `WPL`.
        **arguments: Keyword arguments of `TabularPolicyGradient` and `Agent`.

    Attributes:
        policy: Tables of the agents, unused at depth 0 (the dispatcher); float64 [agents, depth, actions].
        baseline: Mean return per task; float64 [tasks].

    Raises:
        ValueError: If an argument is invalid, or the environment has no dispatcher.

    Example:
        >>> agent = Dispatched("MTLRouting-Digits-v0", seed=0).learn(80)
        >>> agent.depth, agent.num_agents
        (4, 10)
    """

    ENV_KWARGS: ClassVar[Mapping[str, object]] = {"dispatch": "per-task"}
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
        """Number of agents of the dispatcher."""
        return dispatched_agents(self.observation_space)

    @property
    def _looks_back(self) -> bool:
        return True  # the first choice is the agent in charge

    def _hyperparameters(self) -> dict[str, object]:
        own = {"hidden": self.hidden, "dispatcher_learning_rate": self.dispatcher_learning_rate}
        return super()._hyperparameters() | own

    @property
    def diagnostics(self) -> dict[str, float]:
        """Concentration of the agents' policies, as for `TabularPolicyGradient`."""
        return self._decidedness(slice(1, None))

    def _in_charge(self, at: Situations) -> Index:
        """Return the picked agent, or 0 before one is picked; int64 [n]."""
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
        """Return the logits of the dispatcher, minus infinity beyond its agents; float32 [n, actions]."""
        one_hot = np.eye(self.num_tasks, dtype=np.float32)[at.task]
        x = torch.from_numpy(np.concatenate([at.value, one_hot], 1))
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
    """Return the selected entries of situations or decisions."""
    return replace(at, **{name: values[entries] for name, values in vars(at).items()})
