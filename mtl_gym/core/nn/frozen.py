"""Frozen linear maps for environments in which nothing trains, and the alike matrices that they are made of."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class FrozenLinear(nn.Module):
    """Linear map without bias whose matrix neither trains nor is drawn anew.

    Args:
        weight: float32 [outputs, inputs].

    Example:
        >>> frozen = FrozenLinear(torch.eye(2, 3))
        >>> frozen(torch.tensor([[5.0, 6.0, 7.0]])), list(frozen.parameters())
        (tensor([[5., 6.]]), [])
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [rows, inputs] to float32 [rows, outputs]."""
        return nn.functional.linear(x, self.weight)


def alike(count: int, outputs: int, inputs: int, common: float, random: np.random.Generator) -> Tensor:
    """Return matrices that share a part: `common` x identity + (1 - `common`) x a random matrix of each one's own.

    The random matrices are orthogonal, or parts of orthogonal ones, so that all about keep the lengths of vectors.

    Args:
        count: Number of matrices.
        outputs: Rows of a matrix.
        inputs: Columns of a matrix.
        common: Share of the common part, from 0 (unrelated) to 1 (equal).
        random: Generator of the matrices.

    Returns:
        float32 [count, outputs, inputs].

    Example:
        >>> alike(2, 2, 2, 1.0, np.random.default_rng(0)).tolist()
        [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]
    """
    own = np.stack([_orthogonal(max(outputs, inputs), random)[:outputs, :inputs] for _ in range(count)])
    return torch.from_numpy((common * np.eye(outputs, inputs) + (1 - common) * own).astype(np.float32))


def _orthogonal(size: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw an orthogonal matrix uniformly; float64 [size, size]."""
    q, r = np.linalg.qr(random.normal(size=(size, size)))
    return q * np.sign(np.diagonal(r))
