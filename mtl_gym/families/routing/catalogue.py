"""Ids of the routing environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _PATHS = "mtl_gym.families.routing.env", "mtl_gym.families.routing.paths"
PATHS_ID = "MTLRouting-Paths-v0"

ROUTING = Card(
    decision="The block that an input takes at each routed layer.",
    difficulty="Tasks that share blocks help or harm each other; a fixed route per task cannot adapt to that.",
    controls=("random-fixed", "task-specific-all", "task-specific-last", "shared"),
    dials={
        "depth": Dial("more routed layers: more decisions"),
        "blocks": Dial("more blocks per layer: more routes"),
    },
)
PATHS = Card(
    decision="The frozen block that an input takes at each routed layer.",
    difficulty="Only the secret path of a task answers its inputs; every path without learning is a guess.",
    controls=("random-fixed", "shared", "task-specific-all", "task-specific-last"),
    oracle="oracle",
    optimum=100.0,
    evidence="By construction: the label of an input is what the secret path of its task answers.",
    dials={
        "partial_credit": Dial("more: paths that are partly right answer better", (0.75, 0.5, 0.25, 0.0)),
        "depth": Dial("more routed layers: more paths, and longer credit assignment", (2, 3, 4)),
        "blocks": Dial("more blocks per layer: more paths", (2, 4, 8)),
        "tasks": Dial("more tasks: fewer episodes of each", (4, 8, 16)),
        "noise": Dial("more wrong labels in training: more wrong rewards", (0.0, 0.2, 0.4)),
    },
    learners=("q-history", "pg-table", "q-table", "wpl", "reinforce"),
    steps=30_000,
    num_envs=64,
    measured=measured(PATHS_ID),
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
    register_family(env=f"{_PATHS}:PathsEnv", vector_env=f"{_PATHS}:PathsVectorEnv", presets={PATHS_ID: {}}, card=PATHS)
