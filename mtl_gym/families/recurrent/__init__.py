"""Recurrent routing: an agent connects sub-networks at every time step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_gym.core.lazy import lazily

if TYPE_CHECKING:
    from mtl_gym.families.recurrent.baselines import DirectCommunication, IndirectCommunication, RecursiveRouting
    from mtl_gym.families.recurrent.bases import (
        Base,
        Interleaved,
        SeparateLSTMs,
        SharedLSTM,
        SharedPrivate,
        Stitched,
        cross_stitch,
        sluice,
    )
    from mtl_gym.families.recurrent.connections import ConnectionLayout, Gates, Given
    from mtl_gym.families.recurrent.embeddings import WordsAndCharacters
    from mtl_gym.families.recurrent.env import RecurrentEnv, RecurrentVectorEnv
    from mtl_gym.families.recurrent.modular import ModularNetwork, SharedOutput, Sharing
    from mtl_gym.families.recurrent.network import MultiTaskNetwork
    from mtl_gym.families.recurrent.options import RecurrentOptions
    from mtl_gym.families.recurrent.policies import PolicyNetworks
    from mtl_gym.families.recurrent.render import routing_patterns
    from mtl_gym.families.recurrent.training import GradientRouter

__all__ = [
    "Base",
    "ConnectionLayout",
    "DirectCommunication",
    "Gates",
    "Given",
    "GradientRouter",
    "IndirectCommunication",
    "Interleaved",
    "ModularNetwork",
    "MultiTaskNetwork",
    "PolicyNetworks",
    "RecurrentEnv",
    "RecurrentOptions",
    "RecurrentVectorEnv",
    "RecursiveRouting",
    "SeparateLSTMs",
    "SharedLSTM",
    "SharedOutput",
    "SharedPrivate",
    "Sharing",
    "Stitched",
    "WordsAndCharacters",
    "cross_stitch",
    "routing_patterns",
    "sluice",
]

__getattr__ = lazily(
    __name__,
    {
        "baselines": ("DirectCommunication", "IndirectCommunication", "RecursiveRouting"),
        "bases": (
            "Base",
            "Interleaved",
            "SeparateLSTMs",
            "SharedLSTM",
            "SharedPrivate",
            "Stitched",
            "cross_stitch",
            "sluice",
        ),
        "connections": ("ConnectionLayout", "Gates", "Given"),
        "embeddings": ("WordsAndCharacters",),
        "env": ("RecurrentEnv", "RecurrentVectorEnv"),
        "modular": ("ModularNetwork", "SharedOutput", "Sharing"),
        "network": ("MultiTaskNetwork",),
        "options": ("RecurrentOptions",),
        "policies": ("PolicyNetworks",),
        "render": ("routing_patterns",),
        "training": ("GradientRouter",),
    },
)
