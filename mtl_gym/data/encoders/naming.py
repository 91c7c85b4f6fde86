"""Encoders by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mtl_gym.data.encoders.convnet import read_encoder
from mtl_gym.data.encoders.lsa import fit_lsa
from mtl_gym.data.encoders.patches import fit_patches

FOLDER = "encoders"


@dataclass(frozen=True)
class FittedEncoder:
    """An encoder that is fitted to training inputs when it is first needed.

    Attributes:
        recipe: Text that changes whenever the fitted encoder of the same inputs would.
        fit: Function from training inputs, `[rows, *input_shape]` (float32; int64 for texts), to the encoder.
    """

    recipe: str
    fit: Callable[[Tensor], nn.Module]


def encoder_of(name: str, root: Path) -> nn.Module | FittedEncoder:
    """Return an encoder by its name.

    Args:
        name: "patches" or "lsa", `fit_patches` or `fit_lsa` of the training inputs; or the name of a file in
            `root/encoders`, as `write_encoder` writes it.
        root: Data root.

    Raises:
        ValueError: If there is no such encoder; the message lists those that there are.
        DamagedDataError: If its file is damaged.

    Example:
        >>> encoder_of("patches", Path()).recipe
        'patches-v1'
    """
    if name in FITTED:
        return FITTED[name]
    stored = {path.stem: path for path in sorted((root / FOLDER).glob("*.npz"))}
    if name not in stored:
        there = [*FITTED, *stored]
        raise ValueError(
            f"there is no encoder {name!r} in {root / FOLDER}; choose one of {', '.join(there)}, or pass an nn.Module"
        )
    return read_encoder(stored[name])


def _fit_patches(x: Tensor) -> nn.Module:
    if x.ndim != 4:
        raise ValueError(
            f"the encoder 'patches' takes images [channels, height, width], not inputs {list(x.shape[1:])}"
        )
    return fit_patches(x)


def _fit_lsa(x: Tensor) -> nn.Module:
    if x.ndim != 2 or x.is_floating_point():
        raise ValueError(f"the encoder 'lsa' takes texts of one label each, not {x.dtype} inputs {list(x.shape[1:])}")
    return fit_lsa(x)


FITTED = {"patches": FittedEncoder("patches-v1", _fit_patches), "lsa": FittedEncoder("lsa-v1", _fit_lsa)}
