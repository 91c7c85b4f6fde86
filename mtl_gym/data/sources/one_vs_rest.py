"""Ten one-vs-rest tasks from one set of labelled digits: is it this digit, or another?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_gym.data.split import Split

DIGITS = 10
TASK_NAMES = tuple(f"digit {digit}" for digit in range(DIGITS))
CLASS_NAMES = tuple(("another digit", f"digit {digit}") for digit in range(DIGITS))


def one_vs_rest(images: Tensor, digits: npt.NDArray[np.int64], rows: Sequence[npt.NDArray[np.int64]]) -> Split:
    """Return one split with the rows of all tasks.

    Args:
        images: All images, ``[images, *input_shape]``.
        digits: Digit of each image, ``[images]``.
        rows: Image indices of each of the 10 tasks.

    Returns:
        The split, task after task; the label is 1 where the image shows the task's digit and 0 elsewhere.
    """
    chosen = torch.from_numpy(np.concatenate(rows))
    task = torch.cat([torch.full((len(part),), digit) for digit, part in enumerate(rows)])
    return Split(x=images[chosen], task=task, y=(torch.from_numpy(digits)[chosen] == task).long())
