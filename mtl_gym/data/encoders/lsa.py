"""Latent semantic analysis of texts: no labels, no gradients, seconds on a CPU.

Source: Deerwester et al. 1990, "Indexing by latent semantic analysis": the leading singular vectors of weighted counts
of words. Halko, Martinsson, Tropp 2011, algorithm 4.4, for finding them.
Deviation: counts are 0 or 1. As in scikit-learn, the inverse document frequency is smoothed: log((1 + texts) / (1 +
texts with the word)) + 1; Salton and Buckley 1988 have log(texts / texts with the word). Texts have length 1 as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl_gym.data.bags import WORDS
from mtl_gym.data.text import SPECIAL

WIDTH = 128
_SPARE, _ROUNDS, _AT_ONCE = 16, 4, 1000


class LatentSemantics(nn.Module):
    """Coordinates of a text's words along the leading singular vectors of all texts; the order of words is lost.

    Args:
        weight: Inverse document frequency of each token, 0 for tokens that are ignored; float32 `[tokens]`.
        directions: Right singular vectors, float32 `[tokens, width]`.

    Example:
        >>> texts = torch.randint(2, 40, (30, 12), generator=torch.Generator().manual_seed(0))
        >>> fit_lsa(texts, width=5)(texts).shape
        torch.Size([30, 5])
    """

    weight: Tensor
    directions: Tensor

    def __init__(self, weight: Tensor, directions: Tensor) -> None:
        super().__init__()
        for name, values in (("weight", weight), ("directions", directions)):
            self.register_buffer(name, values)

    def forward(self, ids: Tensor) -> Tensor:
        """Map token ids, int64 `[rows, steps]`, to features, float32 `[rows, width]`."""
        return _weighted(ids, self.weight) @ self.directions


def fit_lsa(ids: Tensor, width: int = WIDTH, words: int = WORDS, seed: int = 0) -> LatentSemantics:
    """Fit an encoder to texts, without labels.

    Args:
        ids: Training texts as token ids in the order of frequency, int64 `[rows, steps]`; 0 pads, 1 is unknown.
        width: Number of singular vectors.
        words: Number of words, the most frequent ones; others are ignored.
        seed: Seed of the search for singular vectors.

    Raises:
        ValueError: If there are fewer texts or words than singular vectors.
    """
    tokens = min(len(SPECIAL) + words, int(ids.max()) + 1)
    if width > min(len(ids), tokens):
        raise ValueError(
            f"{len(ids)} texts of {tokens} different tokens have no {width} singular vectors; pass the encoder "
            f"fit_lsa(texts, width={min(len(ids), tokens)}), or take more texts"
        )
    weight = _inverse_frequency(ids, tokens)
    texts = torch.cat([_weighted(part, weight).to_sparse() for part in ids.split(_AT_ONCE)])
    return LatentSemantics(weight, leading(texts, width, torch.Generator().manual_seed(seed)))


def _there(ids: Tensor, tokens: int) -> Tensor:
    """Return 1 for the words that a text has, else 0; int64 `[rows, steps]` -> float32 `[rows, tokens]`."""
    known = torch.where(ids < tokens, ids, 0)
    there = torch.zeros(len(ids), tokens, dtype=torch.float32, device=ids.device).scatter_(1, known, 1.0)
    there[:, : len(SPECIAL)] = 0
    return there


def _inverse_frequency(ids: Tensor, tokens: int) -> Tensor:
    frequency = torch.stack([_there(part, tokens).sum(0) for part in ids.split(_AT_ONCE)]).sum(0)
    return torch.where(frequency > 0, torch.log((1 + len(ids)) / (1 + frequency)) + 1, 0)


def _weighted(ids: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted words of each text, with a length of 1; float32 `[rows, tokens]`."""
    return nn.functional.normalize(_there(ids, len(weight)) * weight)


def leading(texts: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Return the leading right singular vectors of sparse rows; float32 `[rows, tokens]` -> `[tokens, width]`."""
    size = min(width + _SPARE, *texts.shape)
    basis = torch.randn(texts.shape[1], size, dtype=texts.dtype, generator=generator)
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(texts.T @ (texts @ basis)).Q
    _, _, turned = torch.linalg.svd(texts @ basis, full_matrices=False)
    return basis @ turned[:width].T
