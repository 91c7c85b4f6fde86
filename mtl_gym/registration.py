"""The catalogue: every environment id, what it presets, and the class behind it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

ROUTING = ("mtl_gym.families.routing.env:RoutingEnv", "mtl_gym.families.routing.env:RoutingVectorEnv")

LIMITLESS = ("mtl_gym.families.limitless.env:LimitlessEnv", "mtl_gym.families.limitless.env:LimitlessVectorEnv")

SCHEDULING = ("mtl_gym.families.scheduling.env:SchedulingEnv", "mtl_gym.families.scheduling.env:SchedulingVectorEnv")

# Looking at validation samples after every update would take most of the time.
LOOK = {"hard_samples": 16, "updates_per_step": 10}

RECURRENT = ("mtl_gym.families.recurrent.env:RecurrentEnv", "mtl_gym.families.recurrent.env:RecurrentVectorEnv")
ALIGNMENT = ("mtl_gym.families.alignment.env:AlignmentEnv", "mtl_gym.families.alignment.env:AlignmentVectorEnv")

ENVIRONMENTS: dict[str, tuple[tuple[str, str], dict[str, Any]]] = {
    "MTLRouting-Digits-v0": (ROUTING, {"data": "digits", "hidden": 64}),
    "MTLRouting-MNIST-v0": (ROUTING, {"data": "mnist"}),
    "MTLRouting-CIFAR-v0": (ROUTING, {"data": "cifar"}),
    "MTLRouting-MiniImageNet-v0": (ROUTING, {"data": "mini-imagenet"}),
    "MTLLimitless-Digits-v0": (LIMITLESS, {"data": "digits", "image_shape": [1, 8, 8], "learning_rate": 1e-3}),
    "MTLLimitless-MNIST-v0": (LIMITLESS, {"data": "mnist"}),
    "MTLLimitless-CIFAR-v0": (LIMITLESS, {"data": "cifar"}),
    "MTLLimitless-MiniImageNet-v0": (LIMITLESS, {"data": "mini-imagenet", "image_shape": [3, 28, 28]}),
    "MTLScheduling-Digits-v0": (SCHEDULING, {"data": "digits"}),
    "MTLScheduling-Reviews-v0": (SCHEDULING, {"data": "reviews", "validation_samples": 32, **LOOK}),
    "MTLScheduling-Tagging-v0": (SCHEDULING, {"data": "tagging", "validation_samples": 64, **LOOK}),
    "MTLScheduling-CIFAR-v0": (SCHEDULING, {"data": "cifar", "validation_samples": 32, **LOOK}),
    "MTLRecurrent-BrainSeries-v0": (RECURRENT, {"data": "brain-series"}),
    "MTLRecurrent-CodeSwitched-v0": (RECURRENT, {"data": "code-switched"}),
    "MTLAlignment-Linear-v0": (ALIGNMENT, {"data": "linear", "block": [20, 1], "context": 1}),
    "MTLAlignment-CrossModal-v0": (
        ALIGNMENT,
        {
            "data": "cross-modal",
            "challengers": 1,
            "challenger_share": 0.5,
            "score_learning_rate": 0.1,
            "minibatch": 32,
            "samples": 256,
            "generations": 100,
            "final_generations": 0,
        },
    ),
}


def register_all() -> None:
    """Make every id known to Gymnasium; a second call changes nothing."""
    for env_id, ((single, batched), kwargs) in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=single, vector_entry_point=batched, kwargs=kwargs)
