"""Transfer of a shared encoder to an unseen task: cross-validation of a new head on frozen features.

Source: QLS, section 5.1, "Shared Knowledge Transfer", and table 3.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.padding import Padding
from mtl_gym.families.scheduling.stack import RunStack

Floats = NDArray[np.float64]


@torch.no_grad()
def frozen_features(runs: RunStack, data: MultiTaskDataset, task: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the encoders' features of all samples of a task, over all splits.

    Args:
        runs: Trained runs.
        data: Data set with the task.
        task: Number of the task.

    Returns:
        Features [runs, samples, features] and labels [samples].

    Raises:
        ValueError: If the task has label sequences instead of one label per sample.
    """
    if data.splits["train"].y.ndim > 1:
        raise ValueError(
            f"{data.name!r} has label sequences; transfer needs one label per sample: choose another data set."
        )
    runs.train(False)
    features = [_features(runs, data, split, task) for split in data.splits]
    labels = [part.y[part.task == task] for part in data.splits.values()]
    return torch.cat(features, 1).double().cpu().numpy(), torch.cat(labels).cpu().numpy()


def _features(runs: RunStack, data: MultiTaskDataset, split: str, task: int) -> torch.Tensor:
    rows = torch.where(data.split(split).task == task)[0]
    padding = Padding(data, split)
    parts = [_part(runs, data, split, part, padding) for part in rows.split(padding.rows_at_once)]
    return torch.cat(parts, 1)


def _part(runs: RunStack, data: MultiTaskDataset, split: str, rows: torch.Tensor, padding: Padding) -> torch.Tensor:
    x, _ = padding.cut(rows.cpu().numpy(), data.inputs(split, rows), data.split(split).y[rows])
    return runs.features(x)


def cross_validated(features: Floats, labels: NDArray[np.int64], folds: int = 5, seed: int = 0) -> Floats:
    """Return the cross-validated accuracy of a new head, a softmax on frozen features.

    Deviation: the head is scikit-learn's logistic regression on standardised features, trained to convergence; the
    paper does not describe the training of its heads.

    Args:
        features: float64 [runs, samples, features].
        labels: int64 [samples].
        folds: Number of folds.
        seed: Seed of the assignment of samples to folds.

    Returns:
        Accuracy on each held-out fold; float64 [runs, folds].

    Example:
        >>> random = np.random.default_rng(0)
        >>> labels = random.integers(0, 2, 100)
        >>> cross_validated((random.normal(size=(1, 100, 3)) + 9 * labels[:, None]), labels)
        array([[1., 1., 1., 1., 1.]])
    """
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return np.stack([cross_val_score(head, own, labels, cv=parts) for own in features])
