"""Loading of data sets by name."""

import functools
import inspect
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

from torch import nn

from mtl_gym.core.validation import short
from mtl_gym.data import fetching
from mtl_gym.data.collection import TaskCollection
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import MissingDataError
from mtl_gym.data.registry import DataSource, find
from mtl_gym.data.roots import ROOT_VARIABLE, data_root

Collection: TypeAlias = Literal["cross-modal", "linear", "linear-noisy", "generated-linear", "generated-linear-noisy"]


@overload
def load(  # type: ignore[overload-overlap]  # the names of collections are strings as well
    name: Collection, root: str | os.PathLike[str] | None = None, download: bool = False
) -> TaskCollection: ...
@overload
def load(
    name: str,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    features: nn.Module | str | None = None,
    **arguments: Any,
) -> MultiTaskDataset: ...
def load(
    name: str,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    features: nn.Module | str | None = None,
    **arguments: Any,
) -> MultiTaskDataset | TaskCollection:
    """Load a data set by name; calls with the same name, root and arguments share one object within a process.

    Args:
        name: One of ``names()``.
        root: Folder of the data; see ``data_root`` for the default.
        download: Whether to download missing files. Without it the network is never used.
        features: Encoder whose features replace the inputs, as in `MultiTaskDataset.with_features`; the root has the
            files of encoders by name, and the cache.
        **arguments: Arguments of the data set, such as ``relatedness`` of ``brain-series``.

    Returns:
        The data set, on the CPU; a `TaskCollection` for tasks that share neither inputs nor outputs.

    Raises:
        UnknownDatasetError: If there is no data set of that name.
        MissingDataError: If its files are not in the root.
        DamagedDataError: If the contents of a file are invalid.
        DownloadError: If the download fails.
        ValueError: If the data set does not take one of the arguments, or the encoder does not fit.

    Example:
        >>> load("digits")
        MultiTaskDataset('digits', 10 tasks, classes 2, input [64] float32, train 10790, validation 3590, test 3590)
    """
    source, folder = find(name), data_root(root)
    if download:
        fetching.download(name, folder)
    if not source.is_present(folder):
        raise MissingDataError(_missing(source, folder))
    # A data set without files is the same in every root, so its root is not part of the cache key.
    _check_arguments(source, arguments)
    data = _build(name, folder if source.files else Path(), **arguments)
    if features is None:
        return data
    if isinstance(data, TaskCollection):
        raise ValueError(f"data set {name!r} has tasks with inputs of their own, which no single encoder takes")
    return data.with_features(features, cache=folder)


@functools.lru_cache(maxsize=16)
def _build(name: str, root: Path, **arguments: Any) -> MultiTaskDataset | TaskCollection:
    return find(name).build(root, **arguments)


def _check_arguments(source: DataSource, arguments: Mapping[str, object]) -> None:
    known = [name for name in inspect.signature(source.build).parameters if name != "root"]
    for name, value in arguments.items():
        if name not in known:
            takes = ", ".join(known) if known else "no arguments"
            raise ValueError(f"data set {source.name!r} has no argument {name!r}; it takes {takes}.")
        if not isinstance(value, Hashable):
            raise ValueError(f"{name}={short(value)} is not possible; data sets take numbers and strings, not lists.")


def _missing(source: DataSource, root: Path) -> str:
    layouts = " or ".join(f"({', '.join(layout)})" for layout in source.layouts)
    command = f"mtl-gym data get {source.name}"
    if root != data_root():
        command = f"{ROOT_VARIABLE}={root} {command}"
    get = f"Get it with `{command}`" if source.downloadable else f"`{command}` cannot get it: {source.by_hand}"
    return (
        f"data set {source.name!r} is not in {root}; looked for {layouts}. {get}. "
        f"If it is in another folder, set {ROOT_VARIABLE} to that folder."
    )
