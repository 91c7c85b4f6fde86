import os
from collections.abc import Callable

import pytest
import torch

from mtl_gym.data import MultiTaskDataset, Split, load


@pytest.fixture(scope="session")
def load_real() -> Callable[[str], MultiTaskDataset]:
    """Load a bundled data set, or skip the test with the data set's name."""

    def load_or_skip(name: str) -> MultiTaskDataset:
        if name != "digits" and not os.environ.get("MTL_GYM_DATA"):
            pytest.skip(f"{name}: MTL_GYM_DATA is not set")
        try:
            return load(name)
        except FileNotFoundError:
            pytest.skip(f"{name}: not in MTL_GYM_DATA")

    return load_or_skip


@pytest.fixture
def parts() -> dict[str, object]:
    """Arguments of a small valid data set with 2 and 3 classes, for tests to modify."""
    task, y = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2])
    splits = {
        name: Split(torch.arange(10.0).reshape(5, 2) + offset, task.clone(), y.clone())
        for offset, name in enumerate(("train", "validation", "test"))
    }
    return {"name": "toy", "splits": splits, "task_names": ("a", "b"), "class_names": (("n", "y"), ("0", "1", "2"))}
