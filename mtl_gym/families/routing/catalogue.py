"""Ids of the routing environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _PATHS = "mtl_gym.families.routing.env", "mtl_gym.families.routing.paths"
_CONTEXT = "mtl_gym.families.routing.context"
_DIGITS, _GROUPS = "mtl_gym.families.routing.grouped_digits", "mtl_gym.families.routing.groups"
PATHS_ID, CONTEXT_ID = "MTLRouting-Paths-v0", "MTLRouting-Context-v0"
_GROUPED_CIFAR = "mtl_gym.families.routing.grouped_cifar"
DIGITS_ID, GROUPS_ID = "MTLRouting-GroupedDigits-v0", "MTLRouting-Groups-v0"
GROUPED_CIFAR_ID = "MTLRouting-GroupedCIFAR-v0"

ROUTING = Card(
    decision="The block that an input takes at each routed layer.",
    difficulty="Tasks that share blocks help or harm each other; a fixed route per task cannot adapt to that.",
    controls=("random-fixed", "task-specific-all", "task-specific-last", "shared"),
    dials={
        "depth": Dial("more routed layers: more decisions"),
        "blocks": Dial("more blocks per layer: more routes"),
    },
)
BALANCED = Card(
    decision=ROUTING.decision,
    difficulty="A fixed random route per task separates the tasks well enough, so that learners can at best match it.",
    controls=ROUTING.controls,
    dials=ROUTING.dials,
)
PATHS = Card(
    decision="The frozen block that an input takes at each routed layer.",
    difficulty="Only the secret path of a task is always right; without learning, every path is a guess.",
    controls=("random-fixed", "shared", "task-specific-all", "task-specific-last"),
    oracle="oracle",
    optimum=100.0,
    evidence="By construction: labels are the predictions of the secret path of the task.",
    dials={
        "partial_credit": Dial("more: partly right paths are more accurate", (0.75, 0.5, 0.25, 0.0)),
        "depth": Dial("more routed layers: more paths, and longer credit assignment", (2, 3, 4)),
        "blocks": Dial("more blocks per layer: more paths", (2, 4, 8)),
        "tasks": Dial("more tasks: fewer episodes of each", (4, 8, 16)),
        "noise": Dial("more wrong labels in training: more wrong rewards", (0.0, 0.2, 0.4)),
    },
    learners=("assignment", "q-history", "pg-table", "q-table", "wpl", "reinforce"),
    steps=30_000,
    num_envs=64,
    measured=measured(PATHS_ID),
)
CONTEXT = Card(
    decision="The block that classifies an input. Part of the input identifies its rule.",
    difficulty="The rules come in opposite pairs, so a choice that ignores the context is right by chance.",
    controls=("random-fixed", "task-specific-all", "shared"),
    oracle="oracle",
    evidence=(
        "By construction: the nearest prototype is the most likely context, and each rule has a block. With exact "
        "blocks this is the Bayes rate. Trained blocks stay below it, and a router that also uses the content may "
        "exceed the oracle."
    ),
    dials={
        "noise": Dial("more noise: contexts are confused more often", (0.5, 1.0, 1.5, 2.0)),
        "contexts": Dial("more contexts: more rules to separate", (2, 4, 6, 8)),
        "permuted": Dial("True: the rule of a context differs between tasks", (False, True)),
    },
    learners=("input-assignment", "q-net", "reinforce"),
    steps=40_000,
    num_envs=64,
    measured=measured(CONTEXT_ID),
)
GROUPED_CONTROLS = ("separate", "random-fixed", "task-specific-all", "shared")
GROUPED_LEARNERS = ("assignment", "hardening-mixture", "pg-table", "q-table", "wpl")
GROUPED_DIGITS = Card(
    decision="The block that classifies an image of a digit, whose label depends on the hidden group of its task.",
    difficulty="A block shared by two groups learns contradictory labels; a block of a single task has few images.",
    controls=GROUPED_CONTROLS,
    oracle="oracle",
    evidence="By construction: tasks of one group are alike, and no digit has the same label in two groups.",
    dials={
        "samples": Dial("more images per task: sharing matters less", (10, 20, 40, 80)),
        "groups": Dial("more groups: fewer tasks per group", (2, 3, 4, 6)),
    },
    learners=GROUPED_LEARNERS,
    steps=40_000,
    num_envs=64,
    measured=measured(DIGITS_ID),
)
GROUPED_CIFAR = Card(
    decision="The block that classifies features of a photograph, whose label depends on the hidden group of its task.",
    difficulty=GROUPED_DIGITS.difficulty,
    controls=GROUPED_CONTROLS,
    oracle="oracle",
    evidence="By construction: tasks of one group are alike, and no class has the same label in two groups.",
    dials={
        "samples": Dial("more images per task: sharing matters less", (20, 40, 80, 160)),
        "groups": GROUPED_DIGITS.dials["groups"],
    },
    learners=GROUPED_LEARNERS,
    steps=40_000,
    num_envs=64,
    measured=measured(GROUPED_CIFAR_ID),
)
GROUPS = Card(
    decision="The block that classifies a generated input, labelled by the hidden teacher of its task's group.",
    difficulty="A block shared by two groups learns contradictory labels; a block of a single task has few samples.",
    controls=GROUPED_CONTROLS,
    oracle="oracle",
    evidence="By construction: tasks of one group have one teacher, and no two teachers give an input the same label.",
    dials={
        "samples": Dial("more samples per task: sharing matters less", (20, 40, 80, 160)),
        "groups": Dial("more groups: fewer tasks per group", (2, 3, 4)),
    },
    learners=GROUPED_LEARNERS,
    steps=40_000,
    num_envs=64,
    measured=measured(GROUPS_ID),
)
PRESETS: dict[str, dict[str, object]] = {
    "MTLRouting-Digits-v0": {"data": "digits", "hidden": 64},
    "MTLRouting-MNIST-v0": {"data": "mnist"},
    "MTLRouting-CIFAR-v0": {"data": "cifar"},
    "MTLRouting-MiniImageNet-v0": {"data": "mini-imagenet"},
}
BALANCED_PRESETS: dict[str, dict[str, object]] = {
    "MTLRouting-Digits-v1": {"data": "digits", "hidden": 64, "balanced": True},
}


def register() -> None:
    """Register the ids."""
    for presets, card in ((PRESETS, ROUTING), (BALANCED_PRESETS, BALANCED)):
        register_family(env=f"{_ENV}:RoutingEnv", vector_env=f"{_ENV}:RoutingVectorEnv", presets=presets, card=card)
    register_family(env=f"{_PATHS}:PathsEnv", vector_env=f"{_PATHS}:PathsVectorEnv", presets={PATHS_ID: {}}, card=PATHS)
    register_family(
        env=f"{_CONTEXT}:ContextEnv", vector_env=f"{_CONTEXT}:ContextVectorEnv", presets={CONTEXT_ID: {}}, card=CONTEXT
    )
    register_family(
        env=f"{_DIGITS}:GroupedDigitsEnv",
        vector_env=f"{_DIGITS}:GroupedDigitsVectorEnv",
        presets={DIGITS_ID: {}},
        card=GROUPED_DIGITS,
    )
    register_family(
        env=f"{_GROUPED_CIFAR}:GroupedCIFAREnv",
        vector_env=f"{_GROUPED_CIFAR}:GroupedCIFARVectorEnv",
        presets={GROUPED_CIFAR_ID: {"data": "cifar"}},
        card=GROUPED_CIFAR,
    )
    register_family(
        env=f"{_GROUPS}:GroupsEnv", vector_env=f"{_GROUPS}:GroupsVectorEnv", presets={GROUPS_ID: {}}, card=GROUPS
    )
