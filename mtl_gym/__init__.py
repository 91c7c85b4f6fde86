"""Gymnasium environments in which the thing to be controlled is multi-task learning itself.

Importing the package registers every environment with Gymnasium; it does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mtl_gym import aliases
from mtl_gym.registration import register_all

if TYPE_CHECKING:
    from mtl_gym.core.errors import CheckpointError, TrainingDiverged
    from mtl_gym.core.evaluation import Evaluation, evaluate
    from mtl_gym.data import MultiTaskDataset

__all__ = ["CheckpointError", "Evaluation", "MultiTaskDataset", "TrainingDiverged", "evaluate"]

try:
    __version__ = version("mtl-gym")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"

_HOMES = {
    "CheckpointError": "mtl_gym.core.errors",
    "Evaluation": "mtl_gym.core.evaluation",
    "MultiTaskDataset": "mtl_gym.data",
    "TrainingDiverged": "mtl_gym.core.errors",
    "evaluate": "mtl_gym.core.evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtl_gym' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


aliases.install()
register_all()
