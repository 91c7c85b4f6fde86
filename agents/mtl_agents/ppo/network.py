"""Actors and critics of many runs as one stacked network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Numbers of a run fill whole vector registers, so that an operation treats all of them alike, whatever the runs.
REGISTER = 16


class StackedActorCritic:
    """Actor and critic of each run, two hidden layers of tanh units each, as in SB3's `MlpPolicy`.

    All weights of a run are one row of one tensor: norms, optimizer steps and copies of a run are operations on rows.
    A layer of all runs is one batched product. Its operands are [units, rows], so that actor and critic of a run, which
    are side by side in the first layer, are two networks in the second without a copy.

    Args:
        inputs: Number of features.
        outputs: Number of outputs of the actor.
        deviations: Number of trained standard deviations.
        width: Units of a hidden layer.
        generators: Generators of the initial weights, one for each run. Weights are orthogonal, as in SB3.
        device: Device of the weights.

    Attributes:
        weights: Weights of all runs; float32 [runs, numbers].
        shapes: Shapes of the parts of a row by name.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        deviations: int,
        width: int,
        generators: Sequence[torch.Generator],
        device: str = "cpu",
    ) -> None:
        self.width = width
        self.shapes: Mapping[str, tuple[int, ...]] = {
            "first": (2 * width, inputs),
            "first_bias": (2 * width, 1),
            "second": (2, width, width),
            "second_bias": (2, width, 1),
            "actor": (outputs, width),
            "actor_bias": (outputs, 1),
            "critic": (1, width),
            "critic_bias": (1, 1),
            "log_std": (deviations,),
        }
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        self._sizes.append(-sum(self._sizes) % REGISTER)
        self.weights = torch.zeros(len(generators), sum(self._sizes))
        for run, generator in enumerate(generators):
            self._draw(self.weights[run : run + 1], generator)
        self.weights = self.weights.to(device).requires_grad_()

    def parts(self, weights: Tensor) -> dict[str, Tensor]:
        """Return views of weights by name; [runs, numbers] -> [runs, ...] each."""
        flat = weights.split(self._sizes, 1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self.shapes.items(), flat, strict=False)}

    def _draw(self, weights: Tensor, generator: torch.Generator) -> None:
        """Draw the initial weights of one run, [1, numbers]."""
        parts = {name: part[0] for name, part in self.parts(weights).items()}
        for layer in (*parts["first"].split(self.width), *parts["second"]):
            nn.init.orthogonal_(layer, math.sqrt(2), generator)
        nn.init.orthogonal_(parts["actor"], 0.01, generator)
        nn.init.orthogonal_(parts["critic"], 1.0, generator)

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run actors and critics.

        Args:
            features: float32 [runs, rows, inputs].

        Returns:
            Outputs of the actor, float32 [runs, outputs, rows]; values, float32 [runs, rows]; and logarithms of the
            standard deviations, float32 [runs, deviations].
        """
        p = self.parts(self.weights)
        hidden = tanh(torch.baddbmm(p["first_bias"], p["first"], features.transpose(1, 2)))
        hidden = hidden.unflatten(1, (2, self.width)).flatten(0, 1)
        hidden = tanh(torch.baddbmm(p["second_bias"].flatten(0, 1), p["second"].flatten(0, 1), hidden))
        actor, critic = hidden.unflatten(0, (-1, 2)).unbind(1)
        outputs = torch.baddbmm(p["actor_bias"], p["actor"], actor)
        values = torch.baddbmm(p["critic_bias"], p["critic"], critic)
        return outputs, values.squeeze(1), p["log_std"]


class Tanh(torch.autograd.Function):
    """The hyperbolic tangent by the logistic function, which is ten times as fast in torch's CPU build."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return 2 sigmoid(2 x) - 1."""
        y = (2 * x).sigmoid_().mul_(2).sub_(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient times 1 - tanh(x)^2."""
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradient, y)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    y: Tensor = Tanh.apply(x)
    return y
