"""Save and restore states of environments and agents: atomically, and without running code from the file."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import gymnasium as gym
import numpy as np
import torch

from mtl_gym.core.errors import CheckpointError

# How the names of files end that are being written; a kill may leave one.
UNFINISHED = ".unfinished"

# Characters of an error that are repeated in a sentence.
LONGEST = 400


def save(state: dict[str, Any], path: str | Path) -> Path:
    """Write nested dictionaries of tensors and plain values, such as an environment's `state_dict()`.

    Raises:
        OSError: If the file cannot be written; one that was there before is left as it was.
    """
    whole = io.BytesIO()  # torch's own writer tells of a full disk as of a fault in its archive
    torch.save(state, whole)
    return write_atomically(path, lambda file: file.write(whole.getbuffer()))


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote; tensors come to the CPU.

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
            f"The checkpoint {path} is not read: it is damaged, or holds more than tensors and plain values, and that "
            "could run code."
        ) from error
    except Exception as error:  # zipfile and torch raise a dozen kinds for a broken file
        raise CheckpointError(f"The checkpoint {path} is damaged and cannot be read ({error}).") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of this package: it holds a {type(state).__name__}.")
    return state


def load_or_undo(state: Any, load: Callable[[Any], object], undo: Callable[[], object]) -> None:
    """Load a state; if it does not fit, undo what has been changed by then.

    Raises:
        CheckpointError: If `load` raised anything; nothing is changed then.
    """
    try:
        with fitting("This state", "; it is damaged or was taken elsewhere, and nothing was changed"):
            load(state)
    except BaseException:
        undo()
        raise


@contextmanager
def fitting(what: object, advice: str = "") -> Iterator[None]:
    """Turn whatever a readable file or state does to what it is loaded into into one sentence.

    Args:
        what: The file's path, or what the state is called.
        advice: How the sentence ends.

    Raises:
        CheckpointError: If the contents do not fit; what is missing on this machine is told as it is.
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
    """An error in one line, cut short where it is long."""
    text = " ".join(str(error).split()).rstrip(".")
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return text if text and isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"


def to_tensors(arrays: Any) -> Any:
    """Copies of arrays, or of dictionaries of them, as tensors; None stays None."""
    if isinstance(arrays, dict):
        return {key: to_tensors(value) for key, value in arrays.items()}
    return None if arrays is None else torch.from_numpy(np.array(arrays))


def to_arrays(tensors: Any) -> Any:
    """Undo `to_tensors`; copies as well."""
    if isinstance(tensors, dict):
        return {key: to_arrays(value) for key, value in tensors.items()}
    return None if tensors is None else tensors.numpy().copy()


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it: a kill leaves the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o666 & ~_umask())
        os.replace(scratch, path)
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
