"""Limitless routing networks: an episode assembles a network of modules for one input, then runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_gym.core.lazy import lazily

if TYPE_CHECKING:
    from mtl_gym.families.limitless.env import LimitlessEnv, LimitlessVectorEnv
    from mtl_gym.families.limitless.figures import Course, accuracy_and_unused
    from mtl_gym.families.limitless.modules import paper_pool
    from mtl_gym.families.limitless.options import LimitlessOptions
    from mtl_gym.families.limitless.pool import ModulePool, PoolModule
    from mtl_gym.families.limitless.rewards import diversity_bonus

__all__ = [
    "Course",
    "LimitlessEnv",
    "LimitlessOptions",
    "LimitlessVectorEnv",
    "ModulePool",
    "PoolModule",
    "accuracy_and_unused",
    "diversity_bonus",
    "paper_pool",
]

__getattr__ = lazily(
    __name__,
    {
        "env": ("LimitlessEnv", "LimitlessVectorEnv"),
        "figures": ("Course", "accuracy_and_unused"),
        "modules": ("paper_pool",),
        "options": ("LimitlessOptions",),
        "pool": ("ModulePool", "PoolModule"),
        "rewards": ("diversity_bonus",),
    },
)
