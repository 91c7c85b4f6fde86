"""Spaces as JSON-able dictionaries, which files keep in place of pickled objects."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from gymnasium import spaces

from mtl_gym.core.rows import AnySpace, Array, State

SpaceT = TypeVar("SpaceT", bound=AnySpace)


def part_of(space: AnySpace, key: str, kind: type[SpaceT]) -> SpaceT | None:
    """Return the part of a Dict space; None if there is none of that name and kind.

    Example:
        >>> part_of(spaces.Dict(task=spaces.Discrete(3)), "task", spaces.Discrete)
        Discrete(3)
    """
    part = space.spaces.get(key) if isinstance(space, spaces.Dict) else None
    return part if isinstance(part, kind) else None


def plain_space(space: AnySpace) -> State:
    """Return a space as a JSON-able dictionary.

    Raises:
        ValueError: If the space is none of Discrete, MultiDiscrete, MultiBinary, Box and Dict.

    Example:
        >>> plain_space(spaces.Discrete(3))
        {'kind': 'Discrete', 'n': 3, 'start': 0}
    """
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "parts": {key: plain_space(part) for key, part in space.items()}}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Box):
        bounds = {"low": _plain_bound(space.low), "high": _plain_bound(space.high)}
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    raise ValueError(f"{space} cannot be saved; use Discrete, MultiDiscrete, MultiBinary, Box or a Dict of these.")


def space_of(plain: State) -> AnySpace:
    """Undo `plain_space`.

    Raises:
        ValueError: If the dictionary describes no space.

    Example:
        >>> space_of(plain_space(spaces.Dict(x=spaces.Box(0, 1, (2,)), task=spaces.Discrete(3))))
        Dict('task': Discrete(3), 'x': Box(0.0, 1.0, (2,), float32))
    """
    kind = plain.get("kind")
    if kind == "Dict":
        return spaces.Dict({key: space_of(part) for key, part in plain["parts"].items()})
    if kind == "Discrete":
        return spaces.Discrete(plain["n"], start=plain["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(plain["nvec"], start=plain["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(plain["shape"] if len(plain["shape"]) > 1 else plain["shape"][0])
    if kind == "Box":
        return _box(tuple(plain["shape"]), str(plain["dtype"]), plain["low"], plain["high"])
    raise ValueError(f"kind={kind!r} is no kind of space; use Discrete, MultiDiscrete, MultiBinary, Box or Dict.")


def _box(shape: tuple[int, ...], name: str, low: object, high: object) -> spaces.Box:
    dtype = np.dtype(name)
    if dtype.kind not in "biuf":
        raise ValueError(f"dtype={dtype} holds no numbers.")
    ends = [np.broadcast_to(np.asarray(end, dtype), shape) for end in (low, high)]
    return spaces.Box(ends[0].copy(), ends[1].copy(), shape, dtype.type)


def _plain_bound(bound: Array) -> object:
    """Return the bounds of a Box as nested lists, or as one number where they are all the same."""
    same = bound.size > 0 and bool((bound == bound.flat[0]).all())
    return bound.flat[0].item() if same else bound.tolist()
