"""Gymnasium environments in which the thing to be controlled is multi-task learning itself.

Importing the package registers every environment with Gymnasium; it does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mtl_gym.registration import register_all

if TYPE_CHECKING:
    from mtl_gym.data import MultiTaskDataset
    from mtl_gym.errors import CheckpointError, TrainingDiverged
    from mtl_gym.evaluation import Evaluation, evaluate

__all__ = ["CheckpointError", "Evaluation", "MultiTaskDataset", "TrainingDiverged", "evaluate"]

try:
    __version__ = version("mtl-gym")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"

_HOMES = {
    "CheckpointError": "mtl_gym.errors",
    "Evaluation": "mtl_gym.evaluation",
    "MultiTaskDataset": "mtl_gym.data",
    "TrainingDiverged": "mtl_gym.errors",
    "evaluate": "mtl_gym.evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtl_gym' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


register_all()
