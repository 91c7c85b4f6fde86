"""Actors and critics of many runs as stacked networks, with their gradients.

Autograd would keep more tensors alive than the cache holds, so that the backward pass is written out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

# Numbers of a run fill whole vector registers, so that an operation treats all of them alike, whatever the runs.
REGISTER = 16
LAYERS = ("hidden", "last", "out")
Network: TypeAlias = Literal["actor", "critic"]


class StackedActorCritic:
    """Actor and critic of each run, two hidden layers of tanh units each, as in SB3's `MlpPolicy`.

    All weights of a run are one row of one tensor: norms, optimizer steps and copies of a run are operations on rows.
    A layer of all runs is one batched product of [units, inputs] and [inputs, rows].

    Args:
        inputs: Number of features.
        outputs: Number of outputs of the actor.
        deviations: Number of trained standard deviations.
        width: Units of a hidden layer.
        generators: Generators of the initial weights, one for each run. Weights are orthogonal, as in SB3.
        device: Device of the weights.

    Attributes:
        weights: Weights of all runs, float32 [runs, numbers]; `grad` is what `backward` writes.
        parts: Views of the weights by name, such as "actor_hidden" and "critic_out_bias"; [runs, ...] each.
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
        shapes = _shapes(inputs, outputs, deviations, width)
        numbers = sum(map(math.prod, shapes.values()))
        weights = torch.zeros(len(generators), numbers + -numbers % REGISTER)
        for run, generator in enumerate(generators):
            _draw({name: part[run] for name, part in _views(weights, shapes).items()}, generator)
        self.weights = weights.to(device)
        self.weights.grad = torch.zeros_like(self.weights)
        self.parts, self.gradients = _views(self.weights, shapes), _views(self.weights.grad, shapes)

    def forward(self, network: Network, features: Tensor) -> list[Tensor]:
        """Run the actors or the critics of all runs.

        Args:
            network: Which of them.
            features: float32 [runs, rows, inputs].

        Returns:
            Inputs of the three layers, float32 [runs, units, rows] each; and outputs, float32 [runs, outputs, rows].
        """
        through = [features.transpose(1, 2)]
        for layer in LAYERS:
            weight, bias = self.parts[f"{network}_{layer}"], self.parts[f"{network}_{layer}_bias"]
            x = torch.bmm(weight, through[-1])
            through.append(x.add_(bias) if layer == LAYERS[-1] else tanh_(x, bias))
        return through

    def backward(self, network: Network, through: list[Tensor], of_out: Tensor) -> None:
        """Write the gradients of the weights of the actors or the critics.

        Args:
            network: Which of them.
            through: What `forward` returned.
            of_out: Gradients of the outputs; float32 [runs, outputs, rows].
        """
        for layer, x in zip(reversed(LAYERS), reversed(through[:-1]), strict=True):
            name = f"{network}_{layer}"
            torch.sum(of_out, 2, keepdim=True, out=self.gradients[f"{name}_bias"])
            self.gradients[name].copy_(_product(of_out, x.transpose(1, 2)))
            if layer != LAYERS[0]:
                of_out = torch.bmm(self.parts[name].transpose(1, 2), of_out)
                torch.ops.aten.tanh_backward.grad_input(of_out, x, grad_input=of_out)


def _shapes(inputs: int, outputs: int, deviations: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parts of a row of weights by name."""
    sizes = {"hidden": (width, inputs), "last": (width, width)}
    actor = {f"actor_{layer}": size for layer, size in {**sizes, "out": (outputs, width)}.items()}
    critic = {f"critic_{layer}": size for layer, size in {**sizes, "out": (1, width)}.items()}
    biases = {f"{name}_bias": (units, 1) for name, (units, _) in {**actor, **critic}.items()}
    return {**actor, **critic, **biases, "log_std": (deviations,)}


def _views(rows: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return views of the parts of rows by name; [runs, numbers] -> [runs, ...] each."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = rows.split([*sizes, rows.shape[1] - sum(sizes)], 1)
    return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=False)}


def _draw(parts: Mapping[str, Tensor], generator: torch.Generator) -> None:
    """Draw the initial weights of one run; the gains are SB3's."""
    for layer in ("hidden", "last"):
        for network in ("actor", "critic"):
            nn.init.orthogonal_(parts[f"{network}_{layer}"], math.sqrt(2), generator)
    nn.init.orthogonal_(parts["actor_out"], 0.01, generator)
    nn.init.orthogonal_(parts["critic_out"], 1.0, generator)


def _product(of_out: Tensor, x: Tensor) -> Tensor:
    """Return [runs, outputs, rows] times [runs, rows, inputs], by the order of products that is the faster one."""
    if of_out.shape[1] <= x.shape[2]:
        return torch.bmm(of_out, x)
    return torch.bmm(x.transpose(1, 2), of_out.transpose(1, 2)).transpose(1, 2)


def tanh_(x: Tensor, bias: Tensor) -> Tensor:
    """Replace numbers by the hyperbolic tangents of their sums with a bias.

    They are 2 sigmoid(2 x) - 1, which is ten times as fast as `torch.tanh_` on a CPU; each line is one pass.
    """
    torch.add(2 * bias, x, alpha=2, out=x)
    x.sigmoid_()
    return torch.add(torch.tensor(-1.0), x, alpha=2, out=x)
