"""Gymnasium environments for the discrete decisions of multi-task learning.

Importing the package registers every environment with Gymnasium; it does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mtl_gym import aliases
from mtl_gym.core.lazy import lazily
from mtl_gym.families import catalogue
from mtl_gym.registration import Card, Dial, card, load_packages, register_family

if TYPE_CHECKING:
    from mtl_gym import testing
    from mtl_gym.core.env import MultiTaskVectorEnv
    from mtl_gym.core.episode import EpisodeResult
    from mtl_gym.core.errors import CheckpointError, TrainingDiverged
    from mtl_gym.core.evaluation import Evaluation, evaluate
    from mtl_gym.core.measure import Measure
    from mtl_gym.core.options import NetworkContext
    from mtl_gym.data import MultiTaskDataset, TaskCollection, load
    from mtl_gym.integrations.sb3 import make_vec_env
    from mtl_gym.recommend import Recommendation, recommend_groups

__all__ = [
    "Card",
    "CheckpointError",
    "Dial",
    "EpisodeResult",
    "Evaluation",
    "Measure",
    "MultiTaskDataset",
    "MultiTaskVectorEnv",
    "NetworkContext",
    "Recommendation",
    "TaskCollection",
    "TrainingDiverged",
    "card",
    "evaluate",
    "load",
    "make_vec_env",
    "recommend_groups",
    "register_family",
    "testing",
]

try:
    __version__ = version("mtl-gym")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"

_lazily = lazily(
    __name__,
    {
        "core.env": ("MultiTaskVectorEnv",),
        "core.episode": ("EpisodeResult",),
        "core.errors": ("CheckpointError", "TrainingDiverged"),
        "core.evaluation": ("Evaluation", "evaluate"),
        "core.measure": ("Measure",),
        "core.options": ("NetworkContext",),
        "data": ("MultiTaskDataset", "TaskCollection", "load"),
        "integrations.sb3": ("make_vec_env",),
        "recommend": ("Recommendation", "recommend_groups"),
    },
)


def __getattr__(name: str) -> object:
    return import_module("mtl_gym.testing") if name == "testing" else _lazily(name)


aliases.install()
catalogue.register()
load_packages()
