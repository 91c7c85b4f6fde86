"""Pack the outcome of a step as Gymnasium's vector API has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.episode import Transition
from mtl_gym.core.rows import Array, Info, Observation, rows_of

Observed: TypeAlias = "Mapping[str, Array | Tensor] | Array | Tensor"


def as_tensors(obs: Observed, device: torch.device) -> Observation:
    """Return an observation as tensors on a device, or a dictionary of them."""
    if isinstance(obs, Mapping):
        return {key: as_tensors(part, device) for key, part in obs.items()}
    return torch.as_tensor(obs).to(device, non_blocking=True)


def as_arrays(obs: Observed) -> Observation:
    """Return an observation as an array, or a dictionary of arrays."""
    if isinstance(obs, Mapping):
        return {key: as_arrays(part) for key, part in obs.items()}
    return obs.cpu().numpy() if isinstance(obs, Tensor) else obs


def read_together(parts: Sequence[Tensor]) -> list[Array]:
    """Return tensors of one dtype as arrays, for which the host waits once.

    Example:
        >>> [part.tolist() for part in read_together([torch.zeros(2), torch.ones(1, 1)])]
        [[0.0, 0.0], [[1.0]]]
    """
    flat, arrays, at = torch.cat([part.flatten() for part in parts]).cpu().numpy(), [], 0
    for part in parts:
        arrays.append(flat[at : at + part.numel()].reshape(part.shape))
        at += part.numel()
    return arrays


def row_not_finite(obs: Mapping[str, Array] | Array) -> int | None:
    """Return the first row of an observation with a NaN or an infinity; None if there is none."""
    for part in obs.values() if isinstance(obs, Mapping) else (obs,):
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            return int(np.argwhere(~np.isfinite(part))[0][0])
    return None


def final_info(transition: Transition, final_obs: Observation, tensors: bool) -> Info:
    """Return the info of episodes that ended.

    Args:
        transition: Outcome of the step.
        final_obs: Last observations of all rows.
        tensors: Keep `final_obs` as one batch, instead of an array of one object per row.
    """
    done = transition.done
    info = {"final_info": transition.final_info, "_final_info": done, "_final_obs": done}
    if tensors:
        return {"final_obs": final_obs, **info}
    objects, rows = np.full(len(done), None, dtype=object), np.flatnonzero(done)
    objects[rows] = rows_of(final_obs, rows)
    return {"final_obs": objects, **info}
