"""Resolution of an environment's ``data`` option, a name or an object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from mtl_gym.core.validation import short
from mtl_gym.data.collection import TaskCollection
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.loading import load

Kind = TypeVar("Kind", MultiTaskDataset, TaskCollection)


def resolve(
    data: object,
    kind: type[Kind],
    root: str | os.PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Kind:
    """Return a data set from its name or from the object itself.

    Args:
        data: Name of a data set, or the data set itself.
        kind: Required class, `MultiTaskDataset` or `TaskCollection`.
        root: Folder of the data; ignored for an object.
        arguments: Arguments of the named data set, as for `load`.

    Raises:
        ValueError: If the data set is not of this kind, an object is given with arguments, or these are none of a data
            set; see `load` for names.

    Example:
        >>> digits = resolve("digits", MultiTaskDataset)
        >>> resolve(digits, MultiTaskDataset) is digits
        True
    """
    if arguments and not isinstance(data, str):
        raise ValueError(
            f"Arguments {sorted(arguments)} are for data sets that are loaded by name; data={short(data)} is an object."
        )
    for name in arguments or ():
        if name in ("name", "root", "download") or not isinstance(name, str):
            raise ValueError(
                f"{short(name)} is no argument of a data set; choose its name and folder by the options data and "
                "data_root of the environment."
            )
    found = load(data, root, False, **arguments or {}) if isinstance(data, str) else data
    if isinstance(found, kind):
        return found
    raise ValueError(f"data={short(data)} is a {type(found).__name__}; choose one that is a {kind.__name__}.")
