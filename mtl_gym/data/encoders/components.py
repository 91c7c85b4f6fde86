"""Principal components of features."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_components(x: Tensor, count: int) -> Tensor:
    """Return the directions of largest variance of centred rows, largest first; float32 [rows, n] -> [n, count].

    The entry of largest magnitude of each is positive, so that signs do not depend on the machine.
    """
    _, vectors = torch.linalg.eigh((x.T @ x).double())
    components = vectors[:, -count:].flip(1)
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    return (components * largest.sign()).float()
