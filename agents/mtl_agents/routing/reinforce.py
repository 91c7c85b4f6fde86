"""Routers that look at the input: many small networks, of which each decision asks one.

Source: Rosenbaum et al. 2018, section 3.1.1 (approximation functions, "a two-layer MLP").
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from mtl_agents.routing.routes import Decisions, Floats, Index, LearningRouter, Situations
from mtl_agents.routing.tables import epsilon_greedy, falling_epsilon, move_towards
from mtl_gym.core.ranges import PART, POSITIVE, SHARES, SIZES, Range
from mtl_gym.core.rows import clone
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork

Agents: TypeAlias = Literal["per-task", "single"]


def perceptrons(groups: int, inputs: int, hidden: int, outputs: int) -> RoutedNetwork:
    """Return two-layer networks, one per group of decisions, as a routed network that runs each row through its own.

    Args:
        groups: Networks.
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


class NetworkRouter(LearningRouter):
    """A router with a network of its own, which its files keep."""

    network: RoutedNetwork
    optimizer: torch.optim.Optimizer

    def _train(self, make: Callable[[], RoutedNetwork], learning_rate: float) -> None:
        """Make the network, from the agent's own seed, and its optimizer."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(self.np_random.integers(2**31)))
            self.network = make()
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate, fused=True)

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What the future of this agent depends on: tensors and plain values."""
        networks = {"network": clone(dict(self.network.state_dict())), "optimizer": clone(self.optimizer.state_dict())}
        return super().state_dict() | networks

    def _load_state(self, state: dict[str, Any]) -> None:
        super()._load_state(state)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(clone(state["optimizer"]))


class ApproximateRouter(NetworkRouter):
    """A router whose agents are two-layer networks of the value at hand.

    A subclass gives `_probabilities` and `_loss`.

    Args:
        env: As for `Agent`; its observation has a `value` as well.
        agents: "per-task", a task's own agent decides; "single", one agent decides for all and is told the task.
        per_layer: An agent has a network per depth; else one for all depths, which is told the depth.
        hidden: Width of the hidden layer.
        learning_rate: Adam's.
        **arguments: Of `LearningRouter` and `Agent`.

    Raises:
        ValueError: If an argument has a value that is not allowed.
    """

    _LOOKS: ClassVar[bool] = True

    RANGES: ClassVar[Mapping[str, Range]] = {"hidden": SIZES, "learning_rate": POSITIVE}

    def __init__(
        self,
        env: Any,
        *,
        agents: Agents = "per-task",
        per_layer: bool = True,
        hidden: int = 64,
        learning_rate: float = 1e-3,
        **arguments: Any,
    ) -> None:
        super().__init__(env, **arguments)
        if agents not in ("per-task", "single"):
            raise ValueError(f'agents={agents!r} is unknown; use "per-task" or "single".')
        self.agents, self.per_layer, self.hidden, self.learning_rate = agents, per_layer, hidden, learning_rate
        self._train(self._make_network, learning_rate)

    def _make_network(self) -> RoutedNetwork:
        groups = (self.num_tasks if self.agents == "per-task" else 1) * (self.depth if self.per_layer else 1)
        told = (0 if self.agents == "per-task" else self.num_tasks) + (0 if self.per_layer else self.depth)
        return perceptrons(groups, self.width + told, self.hidden, self.num_actions)

    def _hyperparameters(self) -> dict[str, Any]:
        names = ("agents", "per_layer", "hidden", "learning_rate")
        return super()._hyperparameters() | {name: getattr(self, name) for name in names}

    def _outputs(self, at: Situations) -> Tensor:
        """What the agents in charge say; float32 [n, actions]."""
        parts = [at.value]
        if self.agents == "single":
            parts.append(np.eye(self.num_tasks, dtype=np.float32)[at.task])
        if not self.per_layer:
            parts.append(np.eye(self.depth, dtype=np.float32)[at.depth])
        agent = at.task if self.agents == "per-task" else np.zeros_like(at.task)
        group = agent * self.depth + at.depth if self.per_layer else agent
        return of_groups(self.network, torch.from_numpy(np.concatenate(parts, 1)), group)

    def _masked_outputs(self, at: Situations) -> Tensor:
        return self._outputs(at).masked_fill(torch.from_numpy(~self.valid[at.depth]), -torch.inf)

    @abstractmethod
    def _loss(self, decisions: Decisions) -> Tensor:
        """What a gradient step is to lower; a scalar."""

    def _update(self, decisions: Decisions) -> None:
        self._descend(self._loss(decisions))


class Reinforce(ApproximateRouter):
    """Policy-gradient agents that see the value at hand.

    Source: Williams 1992; Rosenbaum et al. 2018, section 3.1.1.

    Deviation: the baseline, which the paper does not name, is a running mean of the returns of each task and depth.

    Args:
        env: As for `Agent`.
        baseline_learning_rate: Step of that running mean.
        **arguments: Of `ApproximateRouter` and `Agent`.

    Example:
        >>> agent = Reinforce("MTLRouting-Digits-v0", agents="single", seed=0).learn(60)
        >>> sum(p.numel() for p in agent.network.parameters())
        16545
    """

    _STATE: ClassVar[tuple[str, ...]] = (*ApproximateRouter._STATE, "baseline")

    RANGES: ClassVar[Mapping[str, Range]] = {"baseline_learning_rate": SHARES}

    def __init__(self, env: Any, *, baseline_learning_rate: float = 0.1, **arguments: Any) -> None:
        super().__init__(env, **arguments)
        self.baseline_learning_rate = baseline_learning_rate
        self.baseline = np.zeros((self.num_tasks, self.depth))

    def _hyperparameters(self) -> dict[str, Any]:
        return super()._hyperparameters() | {"baseline_learning_rate": self.baseline_learning_rate}

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        with torch.no_grad():
            return self._masked_outputs(at).softmax(1).double().numpy()

    def _loss(self, decisions: Decisions) -> Tensor:
        row = decisions.task, decisions.depth
        advantage = torch.from_numpy(decisions.returns - self.baseline[row]).float()
        move_towards(self.baseline, row, decisions.returns, self.baseline_learning_rate)
        logits = self._masked_outputs(decisions)
        surprise = nn.functional.cross_entropy(logits, torch.from_numpy(decisions.choice), reduction="none")
        return (advantage * surprise).mean()


class ReinforceSingle(Reinforce):
    """One policy-gradient agent for all tasks, which is told the task: `Reinforce(agents="single")`."""

    def __init__(self, env: Any, **arguments: Any) -> None:
        super().__init__(env, **{"agents": "single"} | arguments)


class QNetwork(ApproximateRouter):
    """Q-learning agents that see the value at hand; they lower the squared temporal-difference error.

    Source: Rosenbaum et al. 2018, section 3.1.1.

    Deviation: exploration is epsilon-greedy, as in `TabularQ`; the paper names none.

    Args:
        env: As for `Agent`.
        final_epsilon: Share of random choices once exploration has ended.
        exploration_fraction: Share of the training over which epsilon falls to that from 1.
        **arguments: Of `ApproximateRouter` and `Agent`.

    Example:
        >>> agent = QNetwork("MTLRouting-Digits-v0", seed=0).learn(60)
        >>> agent.network.num_blocks  # one per task and depth
        30
    """

    _STATE: ClassVar[tuple[str, ...]] = (*ApproximateRouter._STATE, "epsilon")

    RANGES: ClassVar[Mapping[str, Range]] = {"final_epsilon": SHARES, "exploration_fraction": PART}

    def __init__(
        self, env: Any, *, final_epsilon: float = 0.05, exploration_fraction: float = 0.2, **arguments: Any
    ) -> None:
        super().__init__(env, **arguments)
        self.final_epsilon, self.exploration_fraction = final_epsilon, exploration_fraction
        self.epsilon = np.array(1.0)

    def _hyperparameters(self) -> dict[str, Any]:
        exploration = {"final_epsilon": self.final_epsilon, "exploration_fraction": self.exploration_fraction}
        return super()._hyperparameters() | exploration

    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        with torch.no_grad():
            values = self._masked_outputs(at).numpy()
        return epsilon_greedy(values, self.valid[at.depth], self.epsilon if explore else 0)

    def _loss(self, decisions: Decisions) -> Tensor:
        values = self._masked_outputs(decisions)
        best = values.detach().max(1).values.numpy()
        target = decisions.reward + self.gamma * np.where(decisions.last, 0, np.roll(best, -1))
        self.epsilon = falling_epsilon(self)
        chosen = values.gather(1, torch.from_numpy(decisions.choice)[:, None])[:, 0]
        return (torch.from_numpy(target).float() - chosen).square().mean()
