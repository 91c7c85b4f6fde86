"""Stacked networks: many copies of one module with weights of their own, run as one computation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map
from typing_extensions import Self

from mtl_gym.core.nn.layers import OneCopy, StackedLayers, is_alike_alone

Named = dict[str, Tensor]
Place = tuple[int, ...]
# Makes the context in which a copy runs from the key of that copy.
Context: TypeAlias = Callable[[Tensor], AbstractContextManager[object]]


class StackedModule(nn.Module):
    """Parameters of many copies of one module, stacked along leading axes, such as runs and tasks.

    Args:
        template: Module whose structure the copies share; it is copied, its weights are not.
        axes: Sizes of the leading axes.
        names: Parameters to stack; by default those that require a gradient. The copies share all others.

    Example:
        >>> stack = StackedModule(nn.Linear(3, 2), axes=(4,))
        >>> stack.write((0,), nn.Linear(3, 2))
        >>> stack.run_all(stack.named(), torch.zeros(4, 5, 3)).shape
        torch.Size([4, 5, 2])
    """

    def __init__(self, template: nn.Module, axes: tuple[int, ...], names: Collection[str] | None = None) -> None:
        super().__init__()
        # In a tuple, so that it does not count as a submodule: it lends its structure, not its weights.
        self._skeleton = (copy.deepcopy(template),)
        self._places = places_of(template)
        self._layers = StackedLayers.of(template, {place: name for name, own in self._places.items() for place in own})
        self._alone = is_alike_alone(template)
        trained = {name: p for name, p in template.named_parameters() if p.requires_grad}
        self.names = [name for name in trained if names is None or name in names]
        for name in self.names:
            value = torch.zeros(*axes, *trained[name].shape, dtype=trained[name].dtype, device=trained[name].device)
            self.register_parameter(_key(name), nn.Parameter(value))

    def named(self) -> Named:
        """Return the stacked parameters by name; [*axes, ...]."""
        return {name: getattr(self, _key(name)) for name in self.names}

    def call(self, weights: Mapping[str, Tensor], x: Tensor) -> Any:
        """Return the output of one copy for a batch `x`, with `weights` of that copy by name; as the module does."""
        # torch's own tying of weights leaves them behind in a module that stands in two places.
        everywhere = {place: value for name, value in weights.items() for place in self._places[name]}
        return functional_call(self._skeleton[0], everywhere, (x,), tie_weights=False)

    def is_plain(self, names: Collection[str]) -> bool:
        """Return whether copies differ in nothing but weights of these names, so that `run_all` needs no keys."""
        return self._layers is not None and self._layers.names <= set(names)

    def run_all(
        self,
        weights: Mapping[str, Tensor],
        x: Tensor,
        *,
        shared: bool = False,
        keys: Tensor | None = None,
        context: Context | None = None,
    ) -> Any:
        """Return the outputs of several copies, each as `call` gives it, with a leading axis of copies.

        A copy computes the same to the bit whatever the number of copies, unless it has convolutions.

        Args:
            weights: Weights of the copies by name; [copies, ...] each.
            x: Inputs; [copies, rows, ...].
            shared: Whether all copies have the same inputs; `x` is [rows, ...] then.
            keys: Key of each copy; [copies, ...]. It is needed for shared inputs and for a context.
            context: Context in which a copy runs, made from its key. Layers that `is_plain` names run without one.
        """
        copies = len(x) if keys is None else len(keys)
        if self._layers is not None and self._layers.names <= weights.keys():
            return self._layers(weights, x.expand(copies, *x.shape) if shared else x)
        keys = torch.zeros(copies, device=x.device) if keys is None else keys
        within = nullcontext if context is None else context

        def call(key: Tensor, own: Named, rows: Tensor) -> Any:
            with within(key):
                return self.call(own, rows)

        if copies > 1 or not self._alone:
            return vmap(call, in_dims=(0, 0, None if shared else 0), randomness="different")(keys, dict(weights), x)
        with OneCopy():
            alone = call(keys[0], at(weights, 0), x if shared else x[0])
        return tree_map(lambda output: output.unsqueeze(0), alone)

    @torch.no_grad()
    def write(self, place: Place, source: nn.Module) -> None:
        """Copy the stacked parameters of `source` to a place."""
        theirs = dict(source.named_parameters())
        for name, value in self.named().items():
            value[place].copy_(theirs[name])

    @torch.no_grad()
    def fill(self, copies: Sequence[Named]) -> None:
        """Set the stacked parameters of all places, in order, from results of `weights_of`; one copy per parameter."""
        for name, value in self.named().items():
            value.copy_(torch.stack([copy[name] for copy in copies]).view_as(value), non_blocking=True)

    def weights_of(self, source: nn.Module) -> Named:
        """Return copies of the parameters of `source` that are stacked here, by name."""
        theirs = dict(source.named_parameters())
        return {name: theirs[name].detach().clone() for name in self.names}

    @torch.no_grad()
    def single(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return a plain module with copies of `weights` of one copy by name."""
        module = copy.deepcopy(self._skeleton[0])
        parameters = dict(module.named_parameters())
        for name, value in weights.items():
            parameters[name].copy_(value)
        return module

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the skeleton as well, whose dropout is what runs."""
        self._skeleton[0].train(mode)
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._skeleton[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _key(name: str) -> str:
    """Return the name that a module may give a parameter: without dots."""
    return name.replace(".", "/")


def at(named: Mapping[str, Tensor], place: int | Tensor) -> Named:
    """Return the weights of one copy; [*axes, ...] each -> [...].

    Example:
        >>> at({"weight": torch.arange(6).view(3, 2)}, 1)
        {'weight': tensor([2, 3])}
    """
    return {name: value[place] for name, value in named.items()}


def places_of(module: nn.Module) -> dict[str, list[str]]:
    """Return by parameter all names that it has, one for each submodule that holds it.

    Example:
        >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        >>> tied[1].weight = tied[0].weight
        >>> places_of(tied)
        {'0.weight': ['0.weight', '1.weight']}
    """
    names = {id(p): name for name, p in module.named_parameters()}
    places: dict[str, list[str]] = {name: [] for name in names.values()}
    for prefix, part in module.named_modules():
        for name, p in part.named_parameters(recurse=False, remove_duplicate=False):
            places[names[id(p)]].append(f"{prefix}.{name}" if prefix else name)
    return places
