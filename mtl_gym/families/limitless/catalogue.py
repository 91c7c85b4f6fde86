"""Ids of the limitless environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _PATHS = "mtl_gym.families.limitless.env", "mtl_gym.families.limitless.paths"
PATHS_ID = "MTLLimitless-Paths-v0"

LIMITLESS = Card(
    decision="The module of a pool that processes an input next, or the end of the network.",
    difficulty="All tasks and depths share the modules, so a fixed network per task uses few of them well.",
    controls=("random-fixed",),
    dials={
        "max_depth": Dial("longer networks: more decisions"),
        "duplicates": Dial("more copies of each module: more networks"),
    },
)
BALANCED = Card(
    decision=LIMITLESS.decision,
    difficulty="One random network per task separates the tasks well enough, so that learners can at best match it.",
    controls=LIMITLESS.controls,
    dials=LIMITLESS.dials,
)
PATHS = Card(
    decision="The frozen module that processes an input next, or the end of the network.",
    difficulty="Only the right network of a task is always right; without learning, every network is a guess.",
    controls=("random-fixed",),
    oracle="oracle",
    optimum=100.0,
    evidence="By construction: labels are the predictions of the right network of the task.",
    dials={
        "partial_credit": Dial("more: partly right networks are more accurate", (0.75, 0.5, 0.25, 0.0)),
        "max_depth": Dial("longer right networks: more networks, and longer credit assignment", (3, 4, 5)),
        "duplicates": Dial("more modules of each kind: more networks", (2, 3, 4)),
        "tasks": Dial("more tasks: fewer episodes of each", (2, 4, 8)),
    },
    learners=("assignment", "lrn", "maskable-ppo"),
    steps=40_000,
    num_envs=64,
    measured=measured(PATHS_ID),
)
PRESETS: dict[str, dict[str, object]] = {
    "MTLLimitless-Digits-v0": {"data": "digits", "image_shape": [1, 8, 8], "learning_rate": 1e-3},
    "MTLLimitless-MNIST-v0": {"data": "mnist"},
    "MTLLimitless-CIFAR-v0": {"data": "cifar"},
    "MTLLimitless-MiniImageNet-v0": {"data": "mini-imagenet", "image_shape": [3, 28, 28]},
}
BALANCED_PRESETS: dict[str, dict[str, object]] = {
    "MTLLimitless-Digits-v1": {
        "data": "digits",
        "image_shape": [1, 8, 8],
        "learning_rate": 2e-3,
        "train_batch": 64,
        "max_depth": 3,
        "bonus": 0.05,
        "balanced": True,
    },
}


def register() -> None:
    """Register the ids."""
    for presets, card in ((PRESETS, LIMITLESS), (BALANCED_PRESETS, BALANCED)):
        register_family(env=f"{_ENV}:LimitlessEnv", vector_env=f"{_ENV}:LimitlessVectorEnv", presets=presets, card=card)
    register_family(env=f"{_PATHS}:PathsEnv", vector_env=f"{_PATHS}:PathsVectorEnv", presets={PATHS_ID: {}}, card=PATHS)
