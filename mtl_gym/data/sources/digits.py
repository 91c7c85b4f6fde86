"""The 1,797 digits of 8x8 pixels that come with scikit-learn, as ten one-vs-rest tasks."""

from pathlib import Path

import numpy as np
import torch

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.sources.one_vs_rest import CLASS_NAMES, DIGITS, TASK_NAMES, one_vs_rest
from mtl_gym.data.stratified import stratified_rows

_SEED = 20180
_BRIGHTEST = 16


def build(root: Path) -> MultiTaskDataset:
    """Build the data set; ``root`` is ignored.

    60% of the images, stratified by digit, are for training, 20% for validation and 20% for test. Each task has all
    images of a split. Inputs are float32 ``[64]`` in [0, 1], pixel row by pixel row, with one mean and std for all
    pixels, because some pixels at the border are constant.
    """
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float() / _BRIGHTEST
    labels = digits.astype(np.int64)
    rows = stratified_rows(labels, 0.2, 0.2, np.random.default_rng(_SEED))
    splits = {split: one_vs_rest(images, labels, [chosen] * DIGITS) for split, chosen in rows.items()}
    mean, std = statistics(splits["train"].x, per_channel=False)
    return MultiTaskDataset("digits", splits, TASK_NAMES, CLASS_NAMES, mean, std)
