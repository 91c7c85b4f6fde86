"""Ids of the routing environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _PATHS = "mtl_gym.families.routing.env", "mtl_gym.families.routing.paths"
_CONTEXT = "mtl_gym.families.routing.context"
PATHS_ID, CONTEXT_ID = "MTLRouting-Paths-v0", "MTLRouting-Context-v0"

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
CONTEXT = Card(
    decision="The block that answers an input, of which a part tells which rule holds.",
    difficulty="The rules come in opposite pairs, so that every choice that ignores the context answers at chance.",
    controls=("random-fixed", "task-specific-all", "shared"),
    oracle="oracle",
    evidence="By construction: the nearest prototype is the most likely context, and each rule has a block.",
    dials={
        "noise": Dial("more noise: contexts are mistaken for each other", (0.5, 1.0, 1.5, 2.0)),
        "contexts": Dial("more contexts: more rules to tell apart", (2, 4, 6, 8)),
        "permuted": Dial("True: the rule of a context is another one in every task", (False, True)),
    },
    learners=("q-net", "reinforce"),
    steps=40_000,
    num_envs=64,
    measured=measured(CONTEXT_ID),
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
    register_family(
        env=f"{_CONTEXT}:ContextEnv", vector_env=f"{_CONTEXT}:ContextVectorEnv", presets={CONTEXT_ID: {}}, card=CONTEXT
    )
