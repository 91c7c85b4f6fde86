"""Alignment: assign shared modules to the weight blocks of different architectures (MUiR)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_gym.core.lazy import lazily

if TYPE_CHECKING:
    from mtl_gym.families.alignment.blocks import WeightTensor, weight_tensors
    from mtl_gym.families.alignment.compression import Compact, compact
    from mtl_gym.families.alignment.env import AlignmentEnv, AlignmentVectorEnv
    from mtl_gym.families.alignment.joint import Form, JointModel
    from mtl_gym.families.alignment.options import AlignmentOptions
    from mtl_gym.families.alignment.presets import Architecture, DeepBind, LeNet, StackedLSTM, Tied
    from mtl_gym.families.alignment.rewards import REWARDS, Measured

__all__ = [
    "REWARDS",
    "AlignmentEnv",
    "AlignmentOptions",
    "AlignmentVectorEnv",
    "Architecture",
    "Compact",
    "DeepBind",
    "Form",
    "JointModel",
    "LeNet",
    "Measured",
    "StackedLSTM",
    "Tied",
    "WeightTensor",
    "compact",
    "weight_tensors",
]

__getattr__ = lazily(
    __name__,
    {
        "blocks": ("WeightTensor", "weight_tensors"),
        "compression": ("Compact", "compact"),
        "env": ("AlignmentEnv", "AlignmentVectorEnv"),
        "joint": ("Form", "JointModel"),
        "options": ("AlignmentOptions",),
        "presets": ("Architecture", "DeepBind", "LeNet", "StackedLSTM", "Tied"),
        "rewards": ("REWARDS", "Measured"),
    },
)
