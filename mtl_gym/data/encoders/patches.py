"""Features of image patches by k-means: no labels, no gradients, seconds on a CPU.

Source: Coates, Lee, Ng 2011, "An analysis of single-layer networks in unsupervised feature learning", section 3:
patches with normalised contrast, whitening, k-means, the triangle activation (equation 4), and sums over quadrants.
Deviation: k-means runs on the unit sphere (Coates, Ng 2012), so that centroids do not depend on the patches' lengths. A
patch belongs to the centroid with the largest product; in that source, to the one whose product has the largest
magnitude. The sums are means. The variance of a patch is increased by 0.01, for inputs of unit variance; the paper's
10, for pixels up to 255, is about 0.002.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_CONTRAST = 0.01
_WHITENING = 0.1


class PatchEncoder(nn.Module):
    """Similarities of an image's patches to centroids, averaged over its four quadrants.

    Args:
        whitening: Matrix that whitens a patch, float32 `[patch, patch]`.
        mean: Mean of the patches, float32 `[patch]`.
        centroids: Centroids of whitened patches, float32 `[centroids, patch]`.
        side: Height and width of a patch, in pixels.
        stride: Distance between neighbouring patches, in pixels.

    Example:
        >>> images = torch.rand(20, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        >>> encoder = fit_patches(images, centroids=5, side=4, stride=2, patches=400)
        >>> encoder(images).shape
        torch.Size([20, 20])
    """

    whitening: Tensor
    mean: Tensor
    centroids: Tensor

    def __init__(self, whitening: Tensor, mean: Tensor, centroids: Tensor, side: int, stride: int) -> None:
        super().__init__()
        self.side, self.stride = side, stride
        for name, values in (("whitening", whitening), ("mean", mean), ("centroids", centroids)):
            self.register_buffer(name, values)

    def forward(self, images: Tensor) -> Tensor:
        """Map images, float32 `[rows, channels, height, width]`, to features, float32 `[rows, 4 * centroids]`."""
        patches = contrasted(nn.functional.unfold(images, self.side, stride=self.stride).transpose(1, 2))
        white = (patches - self.mean) @ self.whitening
        squares = (white * white).sum(-1, keepdim=True) + (self.centroids * self.centroids).sum(-1)
        distance = (squares - 2 * white @ self.centroids.T).clamp_min(0).sqrt()
        near = torch.relu(distance.mean(-1, keepdim=True) - distance).transpose(1, 2)
        across = (images.shape[-1] - self.side) // self.stride + 1
        return nn.functional.adaptive_avg_pool2d(near.unflatten(2, (-1, across)), 2).flatten(1)


def fit_patches(
    images: Tensor,
    *,
    centroids: int = 100,
    side: int = 6,
    stride: int = 2,
    patches: int = 50_000,
    rounds: int = 10,
    seed: int = 0,
) -> PatchEncoder:
    """Fit an encoder to patches of images, without labels.

    Args:
        images: Training images, float32 `[rows, channels, height, width]`.
        centroids: Number of centroids.
        side: Height and width of a patch, in pixels.
        stride: Distance between neighbouring patches of an encoded image, in pixels.
        patches: Number of patches to fit to.
        rounds: Rounds of k-means.
        seed: Seed of the patches and the first centroids.

    Raises:
        ValueError: If images are smaller than a patch.
    """
    if min(images.shape[2:]) < side:
        height, width = images.shape[2:]
        raise ValueError(
            f"images of {width} by {height} pixels have no patches of side {side}; resize them, or pass the encoder "
            f"fit_patches(images, side={min(height, width)})"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = contrasted(_patches(images, side, patches, generator))
    mean = drawn.mean(0)
    whitening = _whitening(drawn - mean)
    return PatchEncoder(
        whitening, mean, _clusters((drawn - mean) @ whitening, centroids, rounds, generator), side, stride
    )


def contrasted(patches: Tensor) -> Tensor:
    """Give each patch, `[..., patch]`, mean 0 and a standard deviation near 1."""
    variance, mean = torch.var_mean(patches, -1, keepdim=True, correction=0)
    return (patches - mean) / (variance + _CONTRAST).sqrt()


def _patches(images: Tensor, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw patches at random places; float32 `[count, channels * side * side]`."""
    places = images.unfold(2, side, 1).unfold(3, side, 1)
    rows, height, width = (
        torch.randint(size, (count,), generator=generator) for size in (len(images), *places.shape[2:4])
    )
    return places[rows, :, height, width].flatten(1)


def _whitening(centred: Tensor) -> Tensor:
    """Return the matrix of zero-phase whitening, float32 `[patch, patch]`."""
    covariance = (centred.T @ centred / len(centred)).double()
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * (values.clamp_min(0) + _WHITENING).rsqrt() @ vectors.T).float()


def _clusters(patches: Tensor, count: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Return centroids by k-means on the unit sphere; float32 `[count, patch]`."""
    centroids = torch.randn(count, patches.shape[1], generator=generator, dtype=patches.dtype)
    for _ in range(rounds):
        centroids = nn.functional.normalize(centroids, dim=1)
        value, nearest = (patches @ centroids.T).max(1)
        centroids = centroids + torch.zeros_like(centroids).index_add_(0, nearest, patches * value[:, None])
    return nn.functional.normalize(centroids, dim=1)
