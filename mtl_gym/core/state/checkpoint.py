"""Save and load states of environments and agents: atomically, and without running code from the file."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar, overload

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.rows import Array, State
from mtl_gym.core.state.scratch import scratch_file
from mtl_gym.core.state.structure import check

Loaded = TypeVar("Loaded")

# Maximum number of characters quoted from another error.
LONGEST = 400

# End of the message of a refusal.
UNCHANGED = "; it is damaged or was taken elsewhere, and nothing was changed"


def save(state: Mapping[str, object], path: str | Path) -> Path:
    """Write nested dictionaries of tensors and plain values, such as an environment's `state_dict()`.

    Raises:
        OSError: If the file cannot be written; an existing file stays unchanged.
    """
    whole = io.BytesIO()  # torch's own writer reports a full disk as a fault of its archive
    torch.save(state, whole)
    return write_atomically(path, lambda file: file.write(whole.getbuffer()))


def load(path: str | Path) -> State:
    """Load a state written by `save`, with tensors on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"The checkpoint {path} is damaged: the checksum of {damaged} is wrong.")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"The checkpoint {path} is damaged, or holds more than tensors and plain values, which could run code; "
            "get the file again."
        ) from error
    except Exception as error:  # zipfile and torch raise many kinds of errors for a damaged file
        raise CheckpointError(f"The checkpoint {path} is damaged and cannot be read ({error}).") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of this package: it holds a {type(state).__name__}.")
    return state


def load_or_undo(
    state: Loaded,
    load: Callable[[Loaded], object],
    undo: Callable[[], object],
    model: Callable[[], object] | None = None,
) -> None:
    """Load a state; if that fails, undo partial changes.

    Args:
        state: The state.
        load: Loads it.
        undo: Undoes what `load` has changed by the time that it raises.
        model: Returns the model of the state, as `mtl_gym.core.state.structure` has it, with which the state is
            compared before anything is changed.

    Raises:
        CheckpointError: If the state is not like its model, or `load` raised an error; nothing is changed then.
    """
    with fitting("This state", UNCHANGED):
        if model is not None:
            check(state, model())
    try:
        with fitting("This state", UNCHANGED):
            load(state)
    except BaseException:
        undo()
        raise


@contextmanager
def fitting(what: object, advice: str = "") -> Iterator[None]:
    """Convert errors of loading a readable file or state to one `CheckpointError`.

    Args:
        what: Path of the file, or name of the state.
        advice: End of the message.

    Raises:
        CheckpointError: If the contents do not fit. Errors of files, imports and Gymnasium are raised unchanged.
    """
    try:
        yield
    except (OSError, ImportError, gym.error.Error):
        raise
    except Exception as error:
        if str(what) in str(error):
            raise
        raise CheckpointError(f"{what} does not fit ({said(error)}){advice}.") from error


def said(error: BaseException) -> str:
    """Return an error as text in one line, shortened if long."""
    text = " ".join(str(error).split()).rstrip(".")
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return text if text and isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"


@overload
def to_tensors(arrays: Mapping[str, Array]) -> State: ...
@overload
def to_tensors(arrays: object) -> object: ...
def to_tensors(arrays: object) -> object:
    """Copy arrays, or dictionaries of arrays, to tensors; None stays None."""
    if isinstance(arrays, dict):
        return {key: to_tensors(value) for key, value in arrays.items()}
    return None if arrays is None else torch.from_numpy(np.array(arrays))


@overload
def to_arrays(tensors: Tensor) -> Array: ...
@overload
def to_arrays(tensors: State) -> State: ...
@overload
def to_arrays(tensors: None) -> None: ...
def to_arrays(tensors: State | Tensor | None) -> State | Array | None:
    """Copy tensors to arrays, the inverse of `to_tensors`."""
    if isinstance(tensors, dict):
        return {key: to_arrays(value) for key, value in tensors.items()}
    return None if tensors is None else tensors.numpy().copy()


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Write a temporary file beside `path`, then rename it, so that a kill leaves the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = scratch_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(scratch, 0o666 & ~_umask())
            if sys.platform == "win32":  # open files cannot be renamed there
                file.close()
            os.replace(scratch, path)  # before the lock ends
    except BaseException as error:
        Path(scratch).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
