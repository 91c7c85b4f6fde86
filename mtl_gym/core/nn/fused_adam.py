"""Adam for many small parameters, with the bits of torch's fused Adam and little of its overhead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.buckets import on_device
from mtl_gym.core.nn.leaves import Leaf
from mtl_gym.core.nn.stacks import BlockStack

Group = dict[str, Any]  # as torch types its parameter groups
STATE = ("step", "exp_avg", "exp_avg_sq")


class FusedAdam(torch.optim.Adam):
    """`torch.optim.Adam(fused=True)`, equal to the bit, without its overhead for every small parameter.

    Parameters without a gradient keep their values, moments and step counts, as in `torch.optim.Adam`. Those of fused
    stacks have their gradients there. Settings of the group may be changed between steps, except `amsgrad`.

    Args:
        params: Parameters, of one dtype and device.
        lr: Learning rate.
        stacks: Fused stacks whose parameters are among them.

    Raises:
        ValueError: In a step with `amsgrad`.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.ones(2)
        >>> FusedAdam([weight], lr=0.1).step(); weight.data
        tensor([-0.1000, -0.1000])
    """

    def __init__(self, params: Sequence[Tensor], lr: float, stacks: Sequence[BlockStack] = ()) -> None:
        super().__init__([{"params": list(params)}], lr, fused=True)  # Adam rejects an empty list of parameters
        self._stacks = stacks
        self._moments = [StackedMoments(leaf) for stack in stacks for leaf in stack.leaves]
        inside = {p for moments in self._moments for p in moments.leaf.members}
        self._others = [p for p in params if p not in inside]

    def of(self, module: nn.Module) -> FusedAdam:
        """Return an optimizer of the parameters of `module` alone, with the moments and step counts that they have."""
        twin = FusedAdam(list(module.parameters()), self.param_groups[0]["lr"])
        twin.param_groups[0].update(self._settings)
        twin.state.update({p: self.state[p] for p in module.parameters() if p in self.state})
        return twin

    def take(self, parts: Sequence[FusedAdam]) -> None:
        """Take over the moments and step counts of optimizers whose parameters are among these."""
        for part in parts:
            self.state.update({p: dict(state) for p, state in part.state.items()})
        self.param_groups[0].update(parts[0]._settings)
        self._gather()

    @property
    def _settings(self) -> Group:
        """The group, without its parameters."""
        return {name: value for name, value in self.param_groups[0].items() if name != "params"}

    def add_param_group(self, param_group: Group) -> None:
        """Add the parameters that the constructor was given.

        Raises:
            ValueError: If there are some, because steps, copies and checkpoints know those of the network alone.
        """
        if self.param_groups:
            raise ValueError(
                "FusedAdam trains the parameters that it was made with: make another environment with the network that "
                "has the new ones, or set env.optimizer to another optimizer."
            )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        refuse_settings("FusedAdam", self.param_groups[0], ["amsgrad"])
        others = [p for p in self._others if p.grad is not None]
        states = [self._state_of(p) for p in others]
        if others:
            torch._foreach_add_([state["step"] for state in states], 1)
            gradients = [p.grad for p in others if p.grad is not None]
            fused_adam_(self.param_groups[0], others, gradients, *zip(*map(parts_of, states), strict=True))
        for moments in self._moments:
            trained = moments.leaf.trained
            if len(trained):
                fused_adam_(self.param_groups[0], *moments.begin(trained, self.state))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for p in self._others:
            p.grad = None
        for stack in self._stacks:
            stack.clear()

    def _state_of(self, p: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.zeros((), device=p.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state

    def _gather(self) -> None:
        for moments in self._moments:
            moments.gather(self.state)

    def __setstate__(self, state: Group) -> None:
        """Restore a loaded state, or become a copy, whose parameters are in no stack."""
        super().__setstate__(state)
        if "_stacks" not in vars(self):
            self._stacks, self._moments = (), []
            self._others = [p for group in self.param_groups for p in group["params"]]
        self._gather()


class StackedMoments:
    """Moments and step counts of the parameters of a leaf, whose states are views of them.

    Args:
        leaf: The parameters.
    """

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self._count = torch.zeros(len(leaf.members), device=leaf.values.device)
        self._mean, self._square = torch.zeros_like(leaf.values), torch.zeros_like(leaf.values)
        self._ones = torch.ones_like(self._count)
        self._known = np.zeros(len(leaf.members), bool)
        self._views = list(zip(*(one.unbind() for one in (self._count, self._mean, self._square)), strict=True))
        self._values, self._gradients = leaf.values.unbind(), leaf.gradient.unbind()

    def begin(self, trained: NDArray[np.int64], states: Mapping[Tensor, dict[str, Tensor]]) -> list[list[Tensor]]:
        """Count a step of some members; int64 [n]. Return values, gradients, step counts and moments, n of each."""
        for place in trained[~self._known[trained]]:
            states[self.leaf.members[place]].update(zip(STATE, self._views[place], strict=True))
        self._known[trained] = True
        self._count.index_add_(0, on_device(trained, self.leaf.device), self._ones[: len(trained)])
        places = trained.tolist()
        views = [self._views[place] for place in places]
        moments = [list(part) for part in zip(*views, strict=True)]
        return [[self._values[place] for place in places], [self._gradients[place] for place in places], *moments]

    def gather(self, states: Mapping[Tensor, dict[str, Tensor]]) -> None:
        """Move the states of the members, which were loaded one by one, to the views."""
        for place, p in enumerate(self.leaf.members):
            self._known[place] = bool(states.get(p))
            for view, name in zip(self._views[place], STATE, strict=True):
                view.copy_(states[p][name]) if self._known[place] else view.zero_()
            if self._known[place]:
                states[p].update(zip(STATE, self._views[place], strict=True))


def parts_of(state: Mapping[str, Tensor]) -> list[Tensor]:
    """Return step count and moments of a parameter."""
    return [state[name] for name in STATE]


def refuse_settings(kind: str, group: Group, names: Sequence[str]) -> None:
    """Raise ValueError if a group was given settings that an optimizer does not have."""
    for name in names:
        if group.get(name):
            raise ValueError(
                f"{kind} has no {name}, so that {name}={group[name]!r} changes nothing: remove it from param_groups."
            )


def fused_adam_(
    group: Group,
    params: Sequence[Tensor],
    gradients: Sequence[Tensor],
    steps: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
) -> None:
    """Step whole parameters of one device by torch's kernel, without the work that `torch.optim.Adam` adds."""
    kernel = torch._fused_adamw_ if group.get("decoupled_weight_decay") else torch._fused_adam_
    kernel(
        list(params),
        list(gradients),
        list(means),
        list(squares),
        [],
        list(steps),
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group.get("weight_decay", 0),
        eps=group["eps"],
        amsgrad=False,
        maximize=group.get("maximize", False),
    )
