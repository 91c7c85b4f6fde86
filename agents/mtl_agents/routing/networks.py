"""Networks of routers that observe the input: many small networks, one of which scores each decision.

Source: Rosenbaum et al. 2018, section 3.1.1 (approximation functions, "a two-layer MLP").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from mtl_agents.routing.decisions import Situations
from mtl_agents.routing.router import Index, Masks
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.rows import State, clone
from mtl_gym.core.state.moments import OptimizerState
from mtl_gym.core.state.structure import weights_like
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork

Agents: TypeAlias = Literal["per-task", "single"]


def perceptrons(groups: int, inputs: int, hidden: int, outputs: int) -> RoutedNetwork:
    """Build two-layer networks, one per group of decisions, as a routed network with one route per group.

    Args:
        groups: Number of networks.
        inputs: Width of the input.
        hidden: Width of the hidden layer.
        outputs: Width of the output.

    Example:
        >>> network = perceptrons(3, 4, 8, 2)
        >>> of_groups(network, torch.zeros(5, 4), np.array([0, 2, 2, 1, 0])).shape
        torch.Size([5, 2])
    """
    first = RoutedLayer([nn.Linear(inputs, hidden) for _ in range(groups)], activation=nn.ReLU())
    return RoutedNetwork(None, [first, RoutedLayer([nn.Linear(hidden, outputs) for _ in range(groups)])], (inputs,))


def of_groups(network: RoutedNetwork, x: Tensor, group: Index) -> Tensor:
    """Return the outputs of each row's network; float32 [rows, inputs] and int64 [rows] -> float32 [rows, outputs]."""
    return network(x, np.stack([group, group], 1))


class Trained:
    """Network with its optimizer (Adam).

    Args:
        make: Function that returns the network, with weights drawn from torch's CPU generator.
        learning_rate: Learning rate of Adam.
        random: Generator of the agent, which seeds the weights.
    """

    def __init__(self, make: Callable[[], RoutedNetwork], learning_rate: float, random: np.random.Generator) -> None:
        with seeded(int(random.integers(2**31))):
            self.network = make()
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate, fused=True)

    def descend(self, loss: Tensor) -> None:
        """Take a gradient step that lowers `loss`, a scalar."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def state_dict(self) -> State:
        """Return copies of the weights and the optimizer state."""
        return {"network": clone(dict(self.network.state_dict())), "optimizer": clone(self.optimizer.state_dict())}

    def model(self) -> State:
        """Return the model of `state_dict`, as `mtl_gym.core.state.structure` has it."""
        return {"network": weights_like(self.network), "optimizer": OptimizerState(self.optimizer)}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(clone(state["optimizer"]))


@dataclass(frozen=True)
class Approximator:
    """Two-layer networks that score choices from the current value.

    Attributes:
        tasks: Number of tasks.
        depth: Number of depths.
        agents: "per-task" for one agent per task; "single" for one agent with the task as an additional input.
        per_layer: True for one network per depth; False for one network with the depth as an additional input.

    Raises:
        ValueError: If `agents` is unknown.
    """

    tasks: int
    depth: int
    agents: Agents
    per_layer: bool

    def __post_init__(self) -> None:
        """Raise ValueError for unknown agents."""
        if self.agents not in ("per-task", "single"):
            raise ValueError(f'agents={self.agents!r} is unknown; use "per-task" or "single".')

    def network(self, width: int, hidden: int, actions: int) -> RoutedNetwork:
        """Return fresh networks for values of `width` entries."""
        groups = (self.tasks if self.agents == "per-task" else 1) * (self.depth if self.per_layer else 1)
        one_hot = (0 if self.agents == "per-task" else self.tasks) + (0 if self.per_layer else self.depth)
        return perceptrons(groups, width + one_hot, hidden, actions)

    def outputs(self, network: RoutedNetwork, at: Situations) -> Tensor:
        """Return the scores by the agents in charge; float32 [n, actions]."""
        parts = [at.value]
        if self.agents == "single":
            parts.append(np.eye(self.tasks, dtype=np.float32)[at.task])
        if not self.per_layer:
            parts.append(np.eye(self.depth, dtype=np.float32)[at.depth])
        agent = at.task if self.agents == "per-task" else np.zeros_like(at.task)
        group = agent * self.depth + at.depth if self.per_layer else agent
        return of_groups(network, torch.from_numpy(np.concatenate(parts, 1)), group)


def masked(scores: Tensor, valid: Masks) -> Tensor:
    """Return scores with minus infinity for invalid choices; float32 and bool [n, actions]."""
    return scores.masked_fill(torch.from_numpy(~valid), -torch.inf)
