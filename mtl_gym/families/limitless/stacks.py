"""Stacks: modules of a pool that are built alike, run together, layer by layer, each on its own rows.

A layer without weights runs once on the rows of all modules. Linear layers take one product per module, written into
one result: padding them into one batched product is no faster, because the weights of the modules in use are read
either way. Convolutions of few rows are one grouped convolution with a group per row. Other layers run one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, layer_norm

from mtl_gym.core.nn.frozen import FrozenLinear
from mtl_gym.core.nn.layers import has_hooks, hooks_of
from mtl_gym.core.rows import Rows
from mtl_gym.families.limitless.segmented import Segmented

# Classes whose output for a row depends on nothing but the row, as long as they hold no weights.
ROW_BY_ROW = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.GroupNorm),
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
# Above so many rows of a channel per module in use, one convolution per module is faster than one group per row.
FEW_ROWS = 256


@dataclass(frozen=True)
class Segments:
    """Rows of a stack, sorted by module.

    Attributes:
        members: Modules in use, by their places in the stack, ascending; int64 [used].
        counts: Rows of each; int64 [used].
        device: Device of the rows.
    """

    members: Rows
    counts: Rows
    device: torch.device

    @classmethod
    def of(cls, members: Rows, device: torch.device) -> Segments:
        """Return the segments of sorted rows, from the place of each one's module in the stack; int64 [rows]."""
        return cls(*np.unique(members, return_counts=True), device)

    @cached_property
    def module(self) -> Tensor:
        """Module of each row, by its place in `members`; int64 [rows]."""
        return torch.from_numpy(np.repeat(np.arange(len(self.counts)), self.counts)).to(self.device, non_blocking=True)


class Column(Protocol):
    """The layers at one place of the modules of a stack."""

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of sorted rows; [rows, *shape]."""
        ...


class Stack:
    """Modules that are built alike.

    Args:
        bodies: The modules.
        modules: Modules around them, which have hooks of their own; by default there are none.

    Example:
        >>> stack = Stack([nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(3)])
        >>> segments = Segments(np.array([0, 2]), np.array([4, 1]), torch.device("cpu"))
        >>> stack(torch.zeros(5, 2, 2), segments).shape
        torch.Size([5, 2])
    """

    def __init__(self, bodies: Sequence[nn.Module], modules: Sequence[nn.Module] | None = None) -> None:
        outer = bodies if modules is None else modules
        self._one_by_one, self._hooks = OneByOne(outer), hooks_of(outer)
        self.columns = [_column(layers) for layers in zip(*map(layers_of, bodies), strict=True)]

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of rows in the order of their modules; float32 [rows, *in_shape].

        Modules run one by one if any has hooks, also those that it got since the stack was made.
        """
        if any(self._hooks):
            return self._one_by_one(x, segments)
        for column in self.columns:
            x = column(x, segments)
        return x


def layers_of(body: nn.Module) -> list[nn.Module]:
    """Return the layers that run one after another."""
    if type(body) is not nn.Sequential:
        return [body]
    return [layer for part in body for layer in layers_of(part)]


def build_of(body: nn.Module) -> tuple[object, ...]:
    """Return what modules of one stack have in common: the classes, settings and shapes of their layers.

    A module with hooks, which belong to its calls, has nothing in common with others, so that these run together.
    """
    if has_hooks(body):
        return (id(body),)
    return tuple(
        (
            type(layer),
            *_settings(layer),
            *((name, value.shape, value.dtype) for name, value in layer.state_dict().items()),
        )
        for layer in layers_of(body)
    )


def _settings(layer: nn.Module) -> tuple[str, ...]:
    """Return the settings of a layer; for pools, `extra_repr` leaves some out."""
    own = {name: value for name, value in vars(layer).items() if name[0] != "_" and name != "training"}
    return layer.extra_repr(), repr(own) if type(layer) in ROW_BY_ROW else ""


def _column(layers: Sequence[nn.Module]) -> Column:
    """Return how the layers at one place of their modules run."""
    kind, weights = type(layers[0]), layers[0].state_dict()
    if kind in ROW_BY_ROW and not weights:
        return Shared(layers[0])
    if kind in (nn.Linear, FrozenLinear):
        return Segmented(layers)
    if kind is nn.Conv2d and layers[0].padding_mode == "zeros":
        return Convolutions(layers)
    if kind is nn.LayerNorm and len(weights) == 2:
        return LayerNorms(layers)
    return OneByOne(layers)


@dataclass(frozen=True)
class Shared:
    """A layer without weights, once for all rows."""

    layer: nn.Module

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of sorted rows."""
        return self.layer(x)


class OneByOne:
    """Layers of any class, each on its own rows."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of sorted rows."""
        parts = zip(segments.members, x.split(segments.counts.tolist()), strict=True)
        outputs = [self.layers[number](part) for number, part in parts]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _rows(self, name: str, segments: Segments) -> Tensor:
        """Return a parameter of each row's own layer; [rows, *shape]."""
        used = torch.stack([getattr(self.layers[number], name) for number in segments.members])
        return used.index_select(0, segments.module)


class Convolutions(OneByOne):
    """Convolutions: a group per row, or one by one if modules have many rows."""

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of sorted rows; float32 [rows, channels, height, width]."""
        one, rows = self.layers[0], len(x)
        assert isinstance(one, nn.Conv2d)
        if x.ndim != 4 or rows * one.in_channels > FEW_ROWS * len(segments.counts):
            return super().__call__(x, segments)
        weight = self._rows("weight", segments).flatten(0, 1)
        bias = None if one.bias is None else self._rows("bias", segments).flatten()
        x = x.reshape(1, -1, *x.shape[2:])
        y = conv2d(x, weight, bias, one.stride, one.padding, one.dilation, one.groups * rows)
        return y.unflatten(1, (rows, -1)).squeeze(0)


class LayerNorms(OneByOne):
    """Layer norms: one norm of all rows, then each module's scale and shift."""

    def __call__(self, x: Tensor, segments: Segments) -> Tensor:
        """Return the outputs of sorted rows; float32 [rows, *shape]."""
        one = self.layers[0]
        assert isinstance(one, nn.LayerNorm)
        scale, shift = (self._rows(name, segments) for name in ("weight", "bias"))
        shape = (len(x), *[1] * (x.ndim - scale.ndim), *scale.shape[1:])
        return torch.addcmul(shift.view(shape), layer_norm(x, one.normalized_shape, eps=one.eps), scale.view(shape))
