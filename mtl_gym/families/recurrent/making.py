"""Construction of multi-task networks from the options of an environment."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mtl_gym.core.nn.making import given_network
from mtl_gym.core.options import NetworkContext
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.recurrent.construction import make_network
from mtl_gym.families.recurrent.embeddings import front_of
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.options import RecurrentOptions


def network_of(
    data: MultiTaskDataset, context: NetworkContext, default: Callable[[], MultiTaskNetwork]
) -> MultiTaskNetwork:
    """Return the network given by the options, or that of `default` if they give none.

    Raises:
        ValueError: If the option `network` is invalid or its network does not fit the data set.
    """
    network = given_network(context.options.network, MultiTaskNetwork, context, lambda _: default())
    _check(network, data)
    return network


def template_of(
    data: MultiTaskDataset, context: NetworkContext, default: Callable[[], MultiTaskNetwork]
) -> MultiTaskNetwork:
    """Return the network of `network_of`, with the default network on the meta device, without weights."""
    if context.options.network is not None:
        return network_of(data, context, default)
    with torch.device("meta"):
        return network_of(data, context, default)


def paper_network(options: RecurrentOptions, data: MultiTaskDataset) -> MultiTaskNetwork:
    """Build the network from `base`, `sharing`, `layers`, `hidden` and `readout`."""
    front, width = front_of(data)
    sizes = options.hidden, data.num_tasks, data.max_classes
    readout = "every" if data.has_sequences else options.readout
    return make_network(front, width, options.base, options.sharing, sizes, options.layers, readout)


def _check(network: MultiTaskNetwork, data: MultiTaskDataset) -> None:
    if network.tasks != data.num_tasks or network.classes < data.max_classes:
        raise ValueError(
            f"The network has {network.tasks} tasks and {network.classes} classes, but data set {data.name!r} has "
            f"{data.num_tasks} tasks and up to {data.max_classes} classes."
        )
    if (network.readout == "every") != data.has_sequences:
        wanted = '"every"' if data.has_sequences else '"mean" or "last"'
        raise ValueError(
            f"The network has readout={network.readout!r}, but data set {data.name!r} needs readout={wanted}."
        )
