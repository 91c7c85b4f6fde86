"""Linear layers and elementwise functions in sequence, run for many copies with one batched product per layer.

`torch.func.vmap` would compute the same products, but its own work takes several times as long for small networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mtl_gym.core.rows import Arguments

# Functions of each value alone, the same in training and in evaluation.
_ELEMENTWISE = (nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh)

# Modules that compute alike, in `OneCopy` and under vmap; others may name themselves by `alike_alone = True`.
_ALIKE = (nn.Dropout, nn.Embedding, nn.Flatten, nn.Linear, nn.Sequential, nn.Unflatten, *_ELEMENTWISE)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

# Attributes of modules that hold functions to call before or after the module.
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

Layer = Callable[[Mapping[str, Tensor], Tensor], Tensor]


class StackedLayers:
    """Copies of one sequence of layers with stacked weights.

    Args:
        layers: Functions of the weights by name, [copies, ...] each, and of the values, [copies, rows, ...].
        names: Names of the weights that they use.
    """

    def __init__(self, layers: Sequence[Layer], names: frozenset[str]) -> None:
        self._layers, self.names = layers, names

    @classmethod
    def of(cls, module: nn.Module, name_at: Mapping[str, str]) -> StackedLayers | None:
        """Return the layers of a module, or None if it has others than `nn.Linear` and elementwise ones in sequence.

        Args:
            module: A layer, or an `nn.Sequential`, which may hold others.
            name_at: Name of the parameter at each place, such as "0.weight"; places differ where layers share weights.

        Example:
            >>> weights = {"0.weight": torch.ones(5, 2, 3), "0.bias": torch.zeros(5, 2)}
            >>> layers = StackedLayers.of(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), {name: name for name in weights})
            >>> layers(weights, torch.ones(5, 4, 3)).shape
            torch.Size([5, 4, 2])
            >>> StackedLayers.of(nn.Dropout(0.5), {}) is None
            True
        """
        parts = _parts(module)
        if parts is None:
            return None
        first: dict[nn.Module, str] = {}  # a layer that stands in several places has its weights at the first
        layers = [
            _Linear(part, first.setdefault(part, prefix), name_at) if type(part) is nn.Linear else _Function(part)
            for prefix, part in parts
        ]
        return cls(layers, frozenset(name for layer in layers for name in layer.names))

    def __call__(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return the outputs of all copies; [copies, rows, ...] -> [copies, rows, ...]."""
        for layer in self._layers:
            x = layer(weights, x)
        return x


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """Return the layers of a module by prefix of their parameters; None if one is of another kind or has hooks."""
    if has_hooks(module):
        return None
    found = module.named_modules(remove_duplicate=False)
    layers = [(f"{name}." if name else "", part) for name, part in found if type(part) is not nn.Sequential]
    return layers if all(type(part) in (nn.Linear, *_ELEMENTWISE) for _, part in layers) else None


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module, or a part of it, calls functions beside its own, as with `nn.utils.weight_norm`.

    Example:
        >>> has_hooks(nn.Linear(2, 2)), has_hooks(nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 2))))
        (False, True)
    """
    return any(hooks_of([module]))


def hooks_of(modules: Iterable[nn.Module]) -> list[Mapping[int, Callable[..., object]]]:
    """Return the mappings that hold the hooks of modules and of their parts; all are empty if there are no hooks.

    Hooks that are registered later stand in the same mappings.
    """
    return [getattr(part, hooks) for module in modules for part in module.modules() for hooks in HOOKS]


class _Linear:
    def __init__(self, module: nn.Linear, prefix: str, name_at: Mapping[str, str]) -> None:
        self._weight = name_at[f"{prefix}weight"]
        self._bias = None if module.bias is None else name_at[f"{prefix}bias"]
        self.names = [self._weight] if self._bias is None else [self._weight, self._bias]

    def __call__(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return stacked_linear(x, weights[self._weight], None if self._bias is None else weights[self._bias])


class _Function:
    names: Sequence[str] = ()

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = self._module(x)
        return output


def stacked_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the outputs of linear layers, equal to the bit to those of `torch.func.vmap`, for any number of copies.

    `torch.baddbmm` would add the bias before long sums are complete.

    Args:
        x: float32 [copies, *rows, inputs].
        weight: float32 [copies, outputs, inputs].
        bias: float32 [copies, outputs].

    Returns:
        float32 [copies, *rows, outputs].

    Example:
        >>> stacked_linear(torch.ones(2, 5, 3), torch.ones(2, 4, 3)).shape
        torch.Size([2, 5, 4])
    """
    rows = x if x.ndim == 3 else x.reshape(len(x), -1, x.shape[-1])
    y = torch.bmm(rows, weight.transpose(1, 2))
    if bias is not None:
        y = y + bias.unsqueeze(1)
    return y if x.ndim == 3 else y.view(*x.shape[:-1], y.shape[-1])


def is_alike_alone(module: nn.Module) -> bool:
    """Return whether a module may run without `torch.func.vmap` where it has a single copy.

    It may if it gives the same to the bit in `OneCopy`, or if it has a convolution, which vmap gives to different
    kernels for different numbers of copies.

    Example:
        >>> is_alike_alone(nn.Sequential(nn.Linear(3, 2), nn.Dropout())), is_alike_alone(nn.LayerNorm(3))
        (True, False)
    """
    parts = list(module.modules())
    alike = all(type(part) in _ALIKE or getattr(type(part), "alike_alone", False) for part in parts)
    return alike or any(isinstance(part, _CONVOLUTIONS) for part in parts)


class OneCopy(TorchFunctionMode):
    """Context in which a module computes its linear layers as one of several copies would, to the bit.

    Example:
        >>> with OneCopy():
        ...     nn.Linear(3, 4)(torch.ones(5, 3)).shape
        torch.Size([5, 4])
    """

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Arguments | None = None,
    ) -> object:
        """Call a function of torch, or its stacked replacement."""
        call = _linear_of_one if function is functional.linear else function
        return call(*args, **(kwargs or {}))


def _linear_of_one(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if weight.ndim != 2:
        return functional.linear(input, weight, bias)
    return stacked_linear(input.unsqueeze(0), weight[None], None if bias is None else bias[None]).squeeze(0)
