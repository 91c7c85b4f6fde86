"""Actors and critics of many runs as one stacked network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Numbers of a run fill whole vector registers, so that an operation treats all of them alike, whatever the runs.
REGISTER = 16
NETWORKS, LAYERS = ("actor", "critic"), ("hidden", "last", "out")


@dataclass(frozen=True)
class Outputs:
    """Outputs of the networks of all runs.

    Attributes:
        actor: Outputs of the actor; float32 [runs, outputs, rows].
        values: Outputs of the critic; float32 [runs, rows].
        log_std: Logarithms of the standard deviations; float32 [runs, deviations].
        layers: Inputs of the layers of the actors and of the critics; [runs, units, rows] each.
    """

    actor: Tensor
    values: Tensor
    log_std: Tensor
    layers: tuple[list[Tensor], list[Tensor]]


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
        layers = {"hidden": (width, inputs), "last": (width, width)}
        shapes = {
            f"{network}_{layer}": shape
            for network, size in (("actor", outputs), ("critic", 1))
            for layer, shape in {**layers, "out": (size, width)}.items()
        }
        biases = {f"{name}_bias": (units, 1) for name, (units, _) in shapes.items()}
        self.shapes: Mapping[str, tuple[int, ...]] = {**shapes, **biases, "log_std": (deviations,)}
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        self._sizes.append(-sum(self._sizes) % REGISTER)
        self.weights = torch.zeros(len(generators), sum(self._sizes))
        for run, generator in enumerate(generators):
            self._draw(self.weights[run : run + 1], generator)
        self.weights = self.weights.to(device)

    def parts(self, weights: Tensor) -> dict[str, Tensor]:
        """Return views of weights by name; [runs, numbers] -> [runs, ...] each."""
        flat = weights.split(self._sizes, 1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self.shapes.items(), flat, strict=False)}

    def _draw(self, weights: Tensor, generator: torch.Generator) -> None:
        """Draw the initial weights of one run, [1, numbers]."""
        parts = {name: part[0] for name, part in self.parts(weights).items()}
        for layer in ("hidden", "last"):
            for network in ("actor", "critic"):
                nn.init.orthogonal_(parts[f"{network}_{layer}"], math.sqrt(2), generator)
        nn.init.orthogonal_(parts["actor_out"], 0.01, generator)
        nn.init.orthogonal_(parts["critic_out"], 1.0, generator)

    def forward(self, features: Tensor) -> Outputs:
        """Run actors and critics; float32 [runs, rows, inputs]."""
        parts = self.parts(self.weights)
        actor, critic = (_forward(parts, network, features.transpose(1, 2)) for network in NETWORKS)
        return Outputs(actor[-1], critic[-1].squeeze(1), parts["log_std"].clone(), (actor[:-1], critic[:-1]))

    def backward(self, outputs: Outputs, of_actor: Tensor, of_values: Tensor, of_log_std: Tensor | None) -> Tensor:
        """Return the gradients of the weights, [runs, numbers], from those of the outputs that `forward` returned."""
        gradients = torch.zeros_like(self.weights)
        parts, of_parts = self.parts(self.weights), self.parts(gradients)
        if of_log_std is not None:
            of_parts["log_std"].copy_(of_log_std)
        for network, layers, of_out in zip(NETWORKS, outputs.layers, (of_actor, of_values.unsqueeze(1)), strict=True):
            _backward(parts, of_parts, network, layers, of_out)
        return gradients


def _forward(parts: Mapping[str, Tensor], network: str, x: Tensor) -> list[Tensor]:
    """Return the inputs of all layers of the actors or the critics, and their outputs; [runs, units, rows] each."""
    inputs = [x]
    for layer in LAYERS:
        x = torch.bmm(parts[f"{network}_{layer}"], x).add_(parts[f"{network}_{layer}_bias"])
        inputs.append(x if layer == LAYERS[-1] else tanh_(x))
    return inputs


def _backward(
    parts: Mapping[str, Tensor], of_parts: Mapping[str, Tensor], network: str, inputs: list[Tensor], of_out: Tensor
) -> None:
    """Write the gradients of the actors or the critics, from those of their outputs; [runs, outputs, rows]."""
    for layer, x in zip(reversed(LAYERS), reversed(inputs), strict=True):
        name = f"{network}_{layer}"
        torch.sum(of_out, 2, keepdim=True, out=of_parts[f"{name}_bias"])
        of_parts[name].copy_(_product(of_out, x.transpose(1, 2)))
        if layer != LAYERS[0]:
            of_out = torch.bmm(parts[name].transpose(1, 2), of_out)
            torch.ops.aten.tanh_backward.grad_input(of_out, x, grad_input=of_out)


def _product(of_out: Tensor, x: Tensor) -> Tensor:
    """Return [runs, outputs, rows] times [runs, rows, inputs], by the order of products that is the faster one."""
    if of_out.shape[1] <= x.shape[2]:
        return torch.bmm(of_out, x)
    return torch.bmm(x.transpose(1, 2), of_out.transpose(1, 2)).transpose(1, 2)


def tanh_(x: Tensor) -> Tensor:
    """Replace numbers by their hyperbolic tangents; the logistic function is ten times as fast as `torch.tanh_`."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)
