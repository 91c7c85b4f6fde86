"""Routing networks: an agent picks the block that processes an input next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_gym.core.lazy import lazily

if TYPE_CHECKING:
    from mtl_gym.families.routing.blocks import SimpleConvNet, simple_routed_network
    from mtl_gym.families.routing.env import RoutingEnv, RoutingVectorEnv
    from mtl_gym.families.routing.layers import DispatcherLayer, MixtureLayer, with_dispatcher, with_mixtures
    from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
    from mtl_gym.families.routing.options import RoutingOptions
    from mtl_gym.families.routing.render import routing_map
    from mtl_gym.families.routing.rewards import CollaborationReward

__all__ = [
    "CollaborationReward",
    "DispatcherLayer",
    "MixtureLayer",
    "RoutedLayer",
    "RoutedNetwork",
    "RoutingEnv",
    "RoutingOptions",
    "RoutingVectorEnv",
    "SimpleConvNet",
    "routing_map",
    "simple_routed_network",
    "with_dispatcher",
    "with_mixtures",
]

__getattr__ = lazily(
    __name__,
    {
        "blocks": ("SimpleConvNet", "simple_routed_network"),
        "env": ("RoutingEnv", "RoutingVectorEnv"),
        "layers": ("DispatcherLayer", "MixtureLayer", "with_dispatcher", "with_mixtures"),
        "network": ("RoutedLayer", "RoutedNetwork"),
        "options": ("RoutingOptions",),
        "render": ("routing_map",),
        "rewards": ("CollaborationReward",),
    },
)
