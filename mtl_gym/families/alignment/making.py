"""Joint models of environments, from the option `network` or default architectures."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from torch import nn

from mtl_gym.core.nn.making import given_network
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import NetworkContext
from mtl_gym.core.validation import class_advice, short
from mtl_gym.data import TaskCollection
from mtl_gym.families.alignment.joint import JointModel
from mtl_gym.families.alignment.options import AlignmentOptions
from mtl_gym.families.alignment.preflight import try_out
from mtl_gym.families.alignment.presets import WIDTHS, Architecture, architecture_for
from mtl_gym.families.alignment.samples import data_key


def joint_model(context: NetworkContext, data: TaskCollection, runs: int) -> JointModel:
    """Make the joint models of an environment, and test them on samples of every task.

    Raises:
        ValueError: If the architectures do not fit the tasks.
    """
    assert isinstance(context.options, AlignmentOptions)
    apart = [data_key(task) for task in data.tasks]
    with seeded(0):  # runs redraw the weights; the caller's generator must not advance
        found = templates(context, context.options, data)
        modules, keep = zip(*((one.module, one.keep) for one in found), strict=True)
        joint = JointModel(modules, context.options.form, runs, keep, apart).to(context.device)
    try_out(data.tasks, modules, joint)
    return joint


def templates(context: NetworkContext, options: AlignmentOptions, data: TaskCollection) -> list[Architecture]:
    """Return one architecture per task, from the option `network` or by default.

    Raises:
        ValueError: If `network` or `keep` does not have one entry per task, or a task has no default architecture.
    """
    if options.network is None:
        return [architecture_for(task, data.name, WIDTHS[options.width]) for task in data.tasks]
    modules = _given(options.network, context)
    keep = options.keep or [()] * len(modules)
    if len(modules) != data.num_tasks:
        raise ValueError(f"network has {len(modules)} architectures for {data.num_tasks} tasks: give one per task.")
    if len(keep) != len(modules):
        raise ValueError(
            f"keep={short(keep)} is not possible; it takes one list of layer names for each of the {len(modules)} "
            "architectures."
        )
    return [Architecture(module, kept) for module, kept in zip(modules, keep, strict=True)]


def _given(network: object, context: NetworkContext) -> nn.ModuleList:
    """Return the modules of the option `network`: a module list, a list, or a function that returns one of them."""
    given = _listed(network)
    if callable(network) and not isinstance(network, (nn.Module, type)):
        make: Callable[[NetworkContext], object] = network
        given = wraps(make)(lambda context: _listed(make(context)))
    return given_network(given, nn.ModuleList, context, lambda _: nn.ModuleList())


def _listed(made: object) -> object:
    """Convert a list of modules to an `nn.ModuleList`; return other objects unchanged.

    Raises:
        ValueError: If a list has an element that is not a module.
    """
    if not isinstance(made, (list, tuple)):
        return made
    for number, module in enumerate(made):
        if not isinstance(module, nn.Module):
            raise ValueError(f"Architecture {number} is {short(module)}, not a module.{class_advice(module)}")
    return nn.ModuleList(made)
