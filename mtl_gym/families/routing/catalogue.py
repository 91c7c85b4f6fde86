"""Ids of the routing environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.registration import Card, Dial, register_family

_ENV = "mtl_gym.families.routing.env"

ROUTING = Card(
    decision="The block that an input takes at each routed layer.",
    difficulty="Tasks that share blocks help or harm each other; a fixed route per task cannot adapt to that.",
    controls=("random-fixed", "task-specific-all", "task-specific-last", "shared"),
    dials={
        "depth": Dial("more routed layers: more decisions"),
        "blocks": Dial("more blocks per layer: more routes"),
    },
)
PRESETS: dict[str, dict[str, object]] = {
    "MTLRouting-Digits-v0": {"data": "digits", "hidden": 64},
    "MTLRouting-MNIST-v0": {"data": "mnist"},
    "MTLRouting-CIFAR-v0": {"data": "cifar"},
    "MTLRouting-MiniImageNet-v0": {"data": "mini-imagenet"},
}


def register() -> None:
    """Register the ids."""
    register_family(env=f"{_ENV}:RoutingEnv", vector_env=f"{_ENV}:RoutingVectorEnv", presets=PRESETS, card=ROUTING)
