"""Q-network that is shared over tasks: every task has the same small network, and sees the mean over tasks.

Source: deep sets (Zaheer et al. 2017, eq. 4) for the layers; dueling networks (Wang et al. 2016, eq. 9) for value and
advantages.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn

from mtl_gym.core.rows import AnySpace
from mtl_gym.families.scheduling.observation import features_of, per_task

HIDDEN = 64
# Least standard deviation of a feature: those that never vary are not magnified.
LEAST = 1e-3
# Weight of a minibatch in the running mean and deviation of features.
MOMENTUM = 0.01
# Width of a task embedding.
EMBEDDING = 8


class SharedQNetwork(BasePolicy):
    """Values of the tasks from the features of each task and a mean over tasks.

    With x_k the standardised features of task k, h_k = f(x_k) and m the mean of h_k over tasks, the value of task k is
    v(m) + a(h_k, m), less the mean of a over tasks. f, a and v have two layers and are the same for all tasks, so that
    values are equivariant to the order of tasks. Mean and deviation follow the minibatches of the training. With
    `numbers`, x_k also has a learned embedding of k, which is 0 at first; then tasks that look alike are told apart.

    Args:
        observation_space: Flat observations, as `per_task` splits them.
        action_space: Discrete, one action per task.
        numbers: Whether the network receives a task embedding.

    Attributes:
        running_mean: Mean of each feature, which standardises it; float32 [features]. SB3 copies tensors of such names
            to the target network.
        running_std: Standard deviation of each feature; float32 [features].

    Example:
        >>> network = SharedQNetwork(spaces.Box(0, 1, (7,)), spaces.Discrete(3))
        >>> observation = torch.tensor([[0.5, 0.1, 0.2, 1.0, 0.0, 0.3, 0.9], [0.1, 0.5, 0.2, 0.0, 1.0, 0.3, 0.9]])
        >>> values = network(observation)  # the second row has the first two tasks exchanged
        >>> torch.allclose(values[0, [1, 0, 2]], values[1])
        True
    """

    running_mean: Tensor
    running_std: Tensor

    def __init__(self, observation_space: AnySpace, action_space: spaces.Discrete, numbers: bool = False) -> None:
        super().__init__(observation_space, action_space, normalize_images=False)
        self.tasks = int(action_space.n)
        features = features_of(observation_space, self.tasks)
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_std", torch.ones(features))
        self.embedding = nn.Parameter(torch.zeros(self.tasks, EMBEDDING * numbers))
        self.encoder = nn.Sequential(_two_layers(features + EMBEDDING * numbers, HIDDEN), nn.ReLU())
        self.advantage, self.value = _two_layers(2 * HIDDEN, 1), _two_layers(HIDDEN, 1)

    def forward(self, observation: PyTorchObs) -> Tensor:
        """Return the value of each task; float32 [rows, width] -> [rows, tasks]."""
        assert isinstance(observation, Tensor)
        features = (per_task(observation, self.tasks) - self.running_mean) / self.running_std
        encoded = self.encoder(torch.cat([features, self.embedding.expand(len(features), -1, -1)], -1))
        mean = encoded.mean(1, keepdim=True)
        advantage = self.advantage(torch.cat([encoded, mean.expand_as(encoded)], -1))[..., 0]
        values: Tensor = self.value(mean[:, 0]) + advantage - advantage.mean(1, keepdim=True)
        return values

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        return self(observation).argmax(1)

    def standardise(self, observations: Tensor, weight: float = MOMENTUM) -> None:
        """Move mean and deviation towards those of features over rows and tasks.

        Args:
            observations: float32 [rows, width].
            weight: Weight of these observations; 1 forgets all others.
        """
        features = per_task(observations, self.tasks)
        self.running_mean.lerp_(features.mean((0, 1)), weight)
        self.running_std.lerp_(features.std((0, 1), correction=0).clamp(min=LEAST), weight)


class SharedPolicy(DQNPolicy):
    """Policy of SB3's DQN with a `SharedQNetwork`.

    Args:
        *args: Arguments of SB3's policy.
        numbers: Whether the network receives a task embedding.
        **kwargs: Keyword arguments of SB3's policy.
    """

    q_net: SharedQNetwork  # type: ignore[assignment]
    q_net_target: SharedQNetwork  # type: ignore[assignment]

    def __init__(self, *args: Any, numbers: bool = False, **kwargs: Any) -> None:
        self.numbers = numbers  # before SB3 makes the networks
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> SharedQNetwork:  # type: ignore[override]
        """Make a network; DQN makes two, the second as the target."""
        assert isinstance(self.action_space, spaces.Discrete)
        return SharedQNetwork(self.observation_space, self.action_space, self.numbers).to(self.device)


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))
