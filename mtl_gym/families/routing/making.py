"""Construction of routed networks from the options of an environment."""

from __future__ import annotations

from functools import partial

from mtl_gym.core.nn.making import given_network
from mtl_gym.core.nn.shapes import trouble_with_one_row
from mtl_gym.core.options import NetworkContext
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing.blocks import simple_routed_network
from mtl_gym.families.routing.layers import with_dispatcher, with_mixtures
from mtl_gym.families.routing.network import RoutedNetwork
from mtl_gym.families.routing.options import RoutingOptions


def make_network(options: RoutingOptions, data: MultiTaskDataset, context: NetworkContext) -> RoutedNetwork:
    """Return the network given by the options, with optional mixtures and dispatcher.

    Raises:
        ValueError: If `options.network` is invalid or its network does not fit the data set.
    """
    default = partial(_paper_network, options, data)
    network = given_network(options.network, RoutedNetwork, context, default)
    if network.input_shape != data.input_shape or network.classes < data.max_classes:
        raise ValueError(
            f"The network takes inputs of shape {network.input_shape} and returns {network.classes} classes, but "
            f"data set {data.name!r} has inputs of shape {data.input_shape} and up to {data.max_classes} classes."
        )
    if options.mixture:
        network = with_mixtures(network, data.num_tasks)
    agents = number_of_agents(options, data)
    return with_dispatcher(network, agents) if agents else network


def number_of_agents(options: RoutingOptions, data: MultiTaskDataset) -> int:
    """Return the number of agents of the dispatcher; 0 without a dispatcher."""
    return data.num_tasks if isinstance(options.dispatch, str) else options.dispatch or 0


def takes_one_input(network: RoutedNetwork, needs_to: bool) -> bool:
    """Return whether the trunk can be trained on a single input, which batch norm of flat values rules out.

    Raises:
        ValueError: If it cannot, but `needs_to`.
    """
    trouble = trouble_with_one_row(network.trunk, network.input_shape)
    if trouble and needs_to:
        raise ValueError(
            f"train_batch=1: the trunk cannot be trained on a single input ({trouble}). Use train_batch=2 or more, or "
            "nn.LayerNorm or nn.GroupNorm in the trunk."
        )
    return not trouble


def _paper_network(options: RoutingOptions, data: MultiTaskDataset, context: NetworkContext) -> RoutedNetwork:
    blocks = options.blocks if isinstance(options.blocks, int) else data.num_tasks
    shape, classes = data.input_shape, data.max_classes
    return simple_routed_network(shape, blocks, classes, options.depth, options.hidden, options.layering)
