"""The joint model of an environment, of the architectures in the option `network` or of those that fit the data."""

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
    """Return the joint models of an environment, tried on samples of every task.

    Raises:
        ValueError: If the architectures do not fit the tasks.
    """
    assert isinstance(context.options, AlignmentOptions)
    apart = [data_key(task) for task in data.tasks]
    with seeded(0):  # weights that no run keeps: the caller's generator stays as it was
        found = templates(context, context.options, data)
        modules, keep = zip(*((one.module, one.keep) for one in found), strict=True)
        joint = JointModel(modules, context.options.form, runs, keep, apart).to(context.device)
    try_out(data.tasks, modules, joint)
    return joint


def templates(context: NetworkContext, options: AlignmentOptions, data: TaskCollection) -> list[Architecture]:
    """Return one architecture for each task: those of the option `network`, or those that fit.

    Raises:
        ValueError: If their number or that of `keep` is not the number of tasks, or none is known for a task.
    """
    if options.network is None:
        return [architecture_for(task, data.name, WIDTHS[options.width]) for task in data.tasks]
    modules = _given(options.network, context)
    keep = options.keep or [()] * len(modules)
    if len(modules) != data.num_tasks:
        raise ValueError(f"network has {len(modules)} architectures for {data.num_tasks} tasks; give one for each.")
    if len(keep) != len(modules):
        raise ValueError(
            f"keep={short(keep)} is not possible; it takes one list of names for each of {len(modules)} architectures."
        )
    return [Architecture(module, kept) for module, kept in zip(modules, keep, strict=True)]


def _given(network: object, context: NetworkContext) -> nn.ModuleList:
    """Return the modules of the option `network`, which may also be a list, or a function that returns one."""
    given = _listed(network)
    if callable(network) and not isinstance(network, (nn.Module, type)):
        make: Callable[[NetworkContext], object] = network
        given = wraps(make)(lambda context: _listed(make(context)))
    return given_network(given, nn.ModuleList, context, lambda _: nn.ModuleList())


def _listed(made: object) -> object:
    """Return lists of modules as an `nn.ModuleList`, and everything else as it is.

    Raises:
        ValueError: If a list holds anything else.
    """
    if not isinstance(made, (list, tuple)):
        return made
    for number, module in enumerate(made):
        if not isinstance(module, nn.Module):
            raise ValueError(f"Architecture {number} is {short(module)}, not a module.{class_advice(module)}")
    return nn.ModuleList(made)
