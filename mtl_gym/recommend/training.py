"""Trainings in which every task has a fixed route: the body of its group, then a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.evaluation import evaluate
from mtl_gym.core.nn.shapes import output_shape
from mtl_gym.core.options import NetworkContext
from mtl_gym.core.rows import Observation, Rows
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing import RoutedLayer, RoutedNetwork, RoutingVectorEnv, SimpleConvNet

Body = Callable[[MultiTaskDataset], nn.Module]
NUM_ENVS = 64
_SMALLEST_IMAGE = 16
_CHUNK = 1_024
_RIDGE = 1.0


@dataclass(frozen=True)
class Setup:
    """Data and settings that all trainings have in common.

    Attributes:
        data: The data set.
        samples: Training samples that a training takes, repetitions counted.
        body: Function of the data set that returns a fresh body, a module from inputs float32 [rows, *input_shape] to
            features [rows, features].
        learning_rate: Learning rate of Adam.
        device: Device of the network.
    """

    data: MultiTaskDataset
    samples: int
    body: Body
    learning_rate: float = 3e-3
    device: str = "cpu"

    @property
    def one_meaning(self) -> bool:
        """True if label k has one meaning in all tasks, by the names of the classes; a group then shares its head."""
        return len(set(self.data.class_names)) == 1

    def train(self, group: Rows, seed: int, tick: Callable[[int], object] = lambda samples: None) -> Trained:
        """Train one network with a body per group from fresh weights.

        Args:
            group: Group of each task, numbered from 0; int64 [tasks].
            seed: Seed of weights and of the order of the samples.
            tick: Called after each update with the number of samples so far.
        """
        routes = np.stack([group, group if self.one_meaning else np.arange(len(group))], axis=1)
        env = self._environment(*(int(choices.max()) + 1 for choices in routes.T))
        obs, _ = env.reset(seed=seed)
        while env.episodes < self.samples:
            obs, *_ = env.step(routes[obs["task"], obs["depth"]])
            tick(env.episodes)
        return Trained(self, env, routes)

    def _environment(self, bodies: int, heads: int) -> RoutingVectorEnv:
        def network(context: NetworkContext) -> RoutedNetwork:
            return _network(self.data, self.body, bodies, heads)

        own = {"rho": 0.0, "lr_decay": 1.0, "train_batch": NUM_ENVS, "learning_rate": self.learning_rate}
        return RoutingVectorEnv(NUM_ENVS, data=self.data, network=network, device=self.device, **own)


@dataclass
class Trained:
    """A trained network and the routes of the tasks through it.

    Attributes:
        setup: The setup of the training.
        env: The environment, which has the network.
        routes: Body and head of each task; int64 [tasks, 2].
    """

    setup: Setup
    env: RoutingVectorEnv
    routes: Rows = field(repr=False)

    def accuracy(self, split: str) -> float:
        """Return the mean accuracy over tasks on a split, in per cent."""

        def follow(obs: Observation) -> Rows:
            return self.routes[obs["task"], obs["depth"]]

        return evaluate(follow, self.env, split).figure

    def scores(self, query: Rows, support: Rows | None = None) -> NDArray[np.float32]:
        """Return the scores that each body gives the classes of validation samples; float32 [bodies, samples, classes].

        If a group shares its head, they are the probabilities by body and head. Else a body of one task has no head for
        another: then a linear head for the task of the sample, fitted by ridge regression to its training samples, says
        how well the features serve that task. Classes that a task does not have score minus infinity.

        Args:
            query: Query rows, of the validation split; int64 [samples].
            support: Support rows, of the training split, for the ridge regressions; None if a group shares its head.
        """
        allowed = _allowed(self.env.data)[self.env.data.split("validation").task.cpu().numpy()[query]]
        answer = self._probabilities if support is None else partial(self._ridge_answers, support=support)
        bodies = range(self.env.network.layers[0].choices)
        return np.stack([np.where(allowed, answer(body, query).cpu().numpy(), -np.inf) for body in bodies])

    def _features(self, body: int, split: str, rows: Rows) -> Tensor:
        """Return the features of samples; float32 [rows, features]."""
        network, data = self.env.network.eval(), self.env.data
        with torch.no_grad():
            parts = [
                network.decide(network.embed(data.inputs(split, part)), 0, np.full(len(part), body))
                for part in torch.from_numpy(rows).to(self.env.device).split(_CHUNK)
            ]
        return torch.cat(parts)[:, : prod(network.layers[0].out_shape)]

    def _probabilities(self, body: int, query: Rows) -> Tensor:
        features = self._features(body, "validation", query)
        with torch.no_grad():
            logits = self.env.network.layers[1](features, np.full(len(query), body))
        return logits.softmax(1)

    def _ridge_answers(self, body: int, query: Rows, support: Rows) -> Tensor:
        train, validation = self.env.data.split("train"), self.env.data.split("validation")
        support_task, query_task = train.task[torch.from_numpy(support)], validation.task[torch.from_numpy(query)]
        label, classes = train.y[torch.from_numpy(support)], self.env.data.max_classes
        support_features = self._features(body, "train", support)
        query_features = self._features(body, "validation", query)
        answers = query_features.new_zeros(len(query), classes)
        for task in range(self.env.data.num_tasks):
            own = support_task == task
            head = _ridge(support_features[own], label[own], classes)
            answers[query_task == task] = head(query_features[query_task == task])
        return answers


def default_body(hidden: int) -> Body:
    """Return a function that makes bodies: SimpleConvNet for images from 16 x 16 pixels, else one layer of that width.

    Example:
        >>> from mtl_gym.data import load
        >>> default_body(32)(load("digits"))
        Linear(in_features=64, out_features=32, bias=True)
    """

    def body(data: MultiTaskDataset) -> nn.Module:
        shape = data.input_shape
        if len(shape) == 3 and min(shape[1:]) >= _SMALLEST_IMAGE:
            return SimpleConvNet(shape[0])
        linear = nn.Linear(prod(shape), hidden)
        return linear if len(shape) == 1 else nn.Sequential(nn.Flatten(), linear)

    return body


def _network(data: MultiTaskDataset, body: Body, bodies: int, heads: int) -> RoutedNetwork:
    made = [body(data) for _ in range(bodies)]
    features = output_shape(made[0], data.input_shape, "a body")
    first = RoutedLayer(made, data.input_shape, activation=nn.ReLU())
    last = RoutedLayer([nn.Linear(prod(features), data.max_classes) for _ in range(heads)])
    return RoutedNetwork(None, [first, last], data.input_shape)


def _allowed(data: MultiTaskDataset) -> NDArray[np.bool_]:
    """Return the classes that each task has; bool [tasks, classes]."""
    return np.arange(data.max_classes) < np.array(data.num_classes)[:, None]


def _ridge(x: Tensor, label: Tensor, classes: int) -> Callable[[Tensor], Tensor]:
    """Fit a linear head by ridge regression to one-hot labels; float32 [n, features], int64 [n]."""
    mean, std = x.mean(0), x.std(0, correction=0) + 1e-6
    scaled = (x - mean) / std
    wanted = nn.functional.one_hot(label, classes).to(x)
    level = wanted.mean(0)
    penalty = _RIDGE * len(x) * torch.eye(x.shape[1], device=x.device)
    weight = torch.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (wanted - level))
    return lambda rows: (rows - mean) / std @ weight + level
