"""States of optimizers: whether what is given for one is what it can go on with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state.structure import Wanted, check, check_real, is_sane, wrong

# Settings that torch fills in where an older version's state lacks them; the first ones only say how fast it is.
SPEED = ("foreach", "fused")
FILLED_IN = (*SPEED, "amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay")
# What is a count or a mean of squares.
NEVER_NEGATIVE = ("step", "exp_avg_sq")


@dataclass(frozen=True)
class OptimizerState(Wanted):
    """The state of an optimizer: moments of the parameters' types and shapes, and settings that are sane numbers.

    A parameter may be missing from it: optimizers remember only what has had a gradient.

    Attributes:
        optimizer: The receiver's.
    """

    optimizer: torch.optim.Optimizer

    def check(self, given: Any, place: str) -> None:
        """Refuse what it could not go on with."""
        own = self.optimizer.state_dict()
        check(given, {"state": {}, "param_groups": [{} for _ in own["param_groups"]]}, place)
        for number, (there, here) in enumerate(zip(given["param_groups"], own["param_groups"], strict=True)):
            check_group(there, here, f"{place}.param_groups.{number}")
        self._check_moments(given["state"], f"{place}.state")

    def _check_moments(self, given: dict[Any, Any], place: str) -> None:
        models = after_a_step(self.optimizer) if given else {}
        for number, moments in given.items():
            if number not in models:
                raise CheckpointError(f"{place} has {number!r}, which is no parameter")
            check(moments, models[number], f"{place}.{number}")
            for name in models[number]:
                check_moment(name, moments[name], f"{place}.{number}.{name}")


def check_moment(name: str, given: Any, place: str) -> None:
    """Refuse what no step leaves behind.

    Raises:
        CheckpointError: If a number is not finite, or negative where it cannot be.
    """
    numbers = given if isinstance(given, Tensor) else torch.tensor(given)
    if not bool(numbers.isfinite().all()):
        raise CheckpointError(f"{place} holds numbers that are not finite")
    if name in NEVER_NEGATIVE and bool((numbers < 0).any()):
        raise CheckpointError(f"{place} holds numbers below 0")


def check_group(given: dict[str, Any], own: dict[str, Any], place: str) -> None:
    """Refuse settings that the optimizer could not make a step with.

    Raises:
        CheckpointError: If one is missing or is no sane number, or a switch is set otherwise than here.
    """
    for name, here in own.items():
        if name in given:
            check_setting(name, given[name], here, f"{place}.{name}")
        elif name not in FILLED_IN:
            raise CheckpointError(f"{place} lacks {name!r}")


def check_setting(name: str, given: Any, here: Any, place: str) -> None:
    """Refuse a setting of one group.

    Raises:
        CheckpointError: If the optimizer could not make a step with it.
    """
    if name in SPEED:
        if given is not None and not isinstance(given, bool):
            raise wrong(given, place, "True, False or None")
    elif name == "betas":
        check(given, (0.0, 0.0), place)
        if not all(0 <= beta < 1 for beta in given):
            raise CheckpointError(f"{place} holds numbers outside [0, 1)")
    elif isinstance(here, (int, float)) and not isinstance(here, bool) and name != "axes":
        if not is_sane(check_real(given, place)):
            raise wrong(given, place, "a finite number from 0")
    elif type(given) is not type(here) or given != here:
        raise wrong(given, place, repr(here) if name != "params" else f"the numbers of {len(here)} parameters")


def after_a_step(optimizer: torch.optim.Optimizer) -> dict[int, Any]:
    """Return the model of an optimizer's state after a step, by the number of the parameter."""
    own: dict[int, Any] = optimizer.state_dict()["state"]
    if len(own) == sum(len(group["params"]) for group in optimizer.param_groups):
        return own
    scratch = copy.deepcopy(optimizer)
    for group in scratch.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    scratch.step()
    stepped: dict[int, Any] = scratch.state_dict()["state"]
    return stepped
