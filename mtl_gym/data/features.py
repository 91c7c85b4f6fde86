"""Features of a frozen encoder in place of inputs, computed once and cached."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mtl_gym.core.state.checkpoint import said
from mtl_gym.core.validation import short
from mtl_gym.data.arrays import described, read_inputs
from mtl_gym.data.caching import Arrays, read_cached, write_cached
from mtl_gym.data.copies import fingerprints
from mtl_gym.data.encoders import FittedEncoder, encoder_of
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.roots import data_root
from mtl_gym.data.split import SPLITS

if TYPE_CHECKING:
    from mtl_gym.data.dataset import MultiTaskDataset

Encoder: TypeAlias = nn.Module | FittedEncoder
FOLDER = "features"
_FORMAT = "features-v1"
_PROBES = 4
_LOG = logging.getLogger(__name__)


def with_features(
    data: MultiTaskDataset, encoder: nn.Module | str, cache: str | os.PathLike[str] | None, batch: int
) -> MultiTaskDataset:
    """Return a data set of the same samples, whose inputs are features; see `MultiTaskDataset.with_features`."""
    if data.has_sequences:
        raise ValueError(f"data set {data.name!r} has a label for every step, and features have no steps")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch={short(batch)} is not possible; it takes a whole number of 1 or more")
    root = data_root(cache)
    source = encoder_of(encoder, root) if isinstance(encoder, str) else encoder
    if not isinstance(source, nn.Module | FittedEncoder):
        raise ValueError(f"encoder is {described(encoder)}, but must be an nn.Module or the name of an encoder")
    key = _key(data, source)
    slug = re.sub(r"\W+", "-", data.name).strip("-") or "data"
    features = _features(data, source, key, root / FOLDER / f"{slug}-{key[:16]}.npz", batch)
    splits = {name: replace(data.split(name), x=x) for name, x in features.items()}
    x = splits["train"].x
    moments = statistics(x, per_channel=x.ndim in (2, 4))
    return type(data)(data.name, splits, data.task_names, data.class_names, *moments)


def _key(data: MultiTaskDataset, encoder: Encoder) -> str:
    """Return a digest of the encoder's modules and weights (or its recipe), of the data, and of their normalisation."""
    recipe = encoder.recipe if isinstance(encoder, FittedEncoder) else str(encoder)
    digest = hashlib.sha256(f"{_FORMAT}\n{recipe}".encode())
    tensors = {} if isinstance(encoder, FittedEncoder) else dict(encoder.state_dict())
    tensors |= {f"x {name}": split.x for name, split in data.splits.items()}
    tensors |= {name: value for name, value in (("mean", data.mean), ("std", data.std)) if value is not None}
    for name, value in tensors.items():
        kind, content = _content(value)
        digest.update(f"\n{name} {kind}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _content(value: object) -> tuple[str, bytes]:
    """Return a description and the bytes of a value of a state; those of quantised layers are no plain tensors.

    Keys of existing caches depend on both, so a tensor without axes has the shape (1,).
    """
    if isinstance(value, Tensor) and value.is_meta:
        return "meta", b""
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        plain = torch.atleast_1d(value.detach().cpu().resolve_conj().resolve_neg()).contiguous()
        kind = f"{str(plain.dtype).removeprefix('torch.')} {tuple(plain.shape)}"
        return kind, plain.view(torch.uint8).numpy().tobytes()
    file = io.BytesIO()
    torch.save(value, file)
    return type(value).__name__, file.getvalue()


def _features(data: MultiTaskDataset, encoder: Encoder, key: str, path: Path, batch: int) -> dict[str, Tensor]:
    """Return the features of each split, from the cache if it is sound."""
    distinct = {name: _distinct(split.x) for name, split in data.splits.items()}
    found = read_cached(path, ("key", *SPLITS), "computing the features again")
    if found is not None and not _belongs(data, encoder, key, found, distinct):
        _LOG.warning("%s holds features of other data or of another encoder; computing them again", path)
        found = None
    if found is None:
        module = _fitted(data, encoder, distinct["train"][0])
        _LOG.info("computing features of %r with %s", data.name, type(module).__name__)
        found = {name: _encoded(data, module, name, rows, batch) for name, (rows, _) in distinct.items()}
        _check_one_shape(data, module, found.values())
        write_cached(path, found | {"key": np.array(key)}, "the features")
    return {name: torch.from_numpy(found[name])[inverse] for name, (_, inverse) in distinct.items()}


def _fitted(data: MultiTaskDataset, encoder: Encoder, rows: Tensor) -> nn.Module:
    return encoder.fit(data.inputs("train", rows)) if isinstance(encoder, FittedEncoder) else encoder


def _distinct(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a row of each distinct input, and the place of each input among these; tasks often share inputs."""
    _, rows, inverse = np.unique(fingerprints(x.cpu().numpy()), return_index=True, return_inverse=True)
    return torch.from_numpy(rows), torch.from_numpy(inverse)


def _belongs(
    data: MultiTaskDataset, encoder: Encoder, key: str, found: Arrays, distinct: Mapping[str, tuple[Tensor, Tensor]]
) -> bool:
    """Return whether cached features have this key and size, and the first equal what the encoder gives now.

    The second look finds a module whose code has changed; the recipe of a fitted encoder tells that by itself.
    """
    known = str(found["key"]) == key and found["train"].ndim >= 2
    shapes = {name: (len(rows), *found["train"].shape[1:]) for name, (rows, _) in distinct.items()}
    if not known or not all(_is_sound(found[name], shape) for name, shape in shapes.items()):
        return False
    if isinstance(encoder, FittedEncoder):
        return True
    fresh = _encoded(data, encoder, "train", distinct["train"][0][:_PROBES], _PROBES)
    kept = found["train"][:_PROBES]
    return fresh.shape == kept.shape and np.allclose(fresh, kept, rtol=1e-3, atol=1e-4)


def _is_sound(features: npt.NDArray[Any], shape: tuple[int, ...]) -> bool:
    return features.dtype == np.float32 and features.shape == shape and bool(np.isfinite(features).all())


def _encoded(
    data: MultiTaskDataset, encoder: nn.Module, split: str, rows: Tensor, batch: int
) -> npt.NDArray[np.float32]:
    """Return the features of rows of a split; float32 `[rows, *shape]`."""
    here = data.split(split).x.device
    device = next((tensor.device for tensor in chain(encoder.parameters(), encoder.buffers())), here)
    with frozen(encoder):
        parts = [
            _checked(data, encoder, _called(data, encoder, data.inputs(split, part.to(here)).to(device)), part)
            for part in rows.split(batch)
        ]
    _check_one_shape(data, encoder, parts)
    return torch.cat(parts).numpy()


def _check_one_shape(
    data: MultiTaskDataset, encoder: nn.Module, parts: Iterable[Tensor | npt.NDArray[np.float32]]
) -> None:
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise ValueError(
            f"{type(encoder).__name__} gave features of shape {list(shapes[0])} for some inputs of {data.name!r} and "
            f"{list(shapes[1])} for others, but must give one shape for all; pool or pad them"
        )


def _called(data: MultiTaskDataset, encoder: nn.Module, inputs: Tensor) -> object:
    try:
        return encoder(inputs)
    except Exception as error:  # a module may raise anything for inputs that it is not made for
        others = {part.dtype for part in encoder.parameters() if part.is_floating_point()} - {inputs.dtype}
        remedy = f"; its weights are {others.pop()}: call .float()" if others and inputs.is_floating_point() else ""
        raise ValueError(
            f"{type(encoder).__name__} cannot encode inputs of {data.name!r}, {described(inputs)} "
            f"({said(error)}){remedy}"
        ) from error


def _checked(data: MultiTaskDataset, encoder: nn.Module, features: object, rows: Tensor) -> Tensor:
    who = type(encoder).__name__
    if not isinstance(features, Tensor) or features.ndim < 2 or len(features) != len(rows):
        given = described(features)
        raise ValueError(
            f"{who} gave {given} for {len(rows)} inputs of {data.name!r}, but must give a tensor "
            f"[{len(rows)}, features]"
        )
    found = read_inputs(f"{who}, for inputs of {data.name!r}", features, "its output").float().cpu()
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{who} gave NaN or infinity for inputs of {data.name!r}; check its weights and input range")
    return found


@contextmanager
def frozen(encoder: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode without gradients; afterwards every part has its own mode again."""
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
