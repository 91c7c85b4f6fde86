"""Warning of numbers so far from 0 that float32 rounds their differences away, such as timestamps."""

from __future__ import annotations

import logging

import numpy as np

from mtl_gym.data.arrays import Values, read_exactly

_FEWEST = 100  # steps of float32 between the smallest and the largest value of a feature
_NOISE = 1000  # steps of float64 that come from rounding alone
_EXACT = ("float32", "float16", "bfloat16", "uint8", "bool")
_LOG = logging.getLogger(__name__)


def tell_rounding(where: str, what: str, values: Values) -> None:
    """Log a warning if features have few values left in float32, although they differ.

    Args:
        where: Data set and task, for the message.
        what: Name of the array, for the message.
        values: As for `read_inputs`, which has read them without an error: ``[rows]`` or ``[rows, features]``. Other
            shapes, and numbers that fit into float32, are passed over.
    """
    if str(getattr(values, "dtype", "")).removeprefix("torch.") in _EXACT or getattr(values, "ndim", 1) > 2:
        return
    numbers = read_exactly(where, values, what).cpu().double()
    if numbers.ndim > 2 or not len(numbers):
        return
    low, high = (bound.reshape(-1).numpy() for bound in numbers.aminmax(dim=0))
    furthest, spread = np.maximum(np.abs(low), np.abs(high)), high - low
    step = np.spacing(furthest.astype(np.float32))
    rounded = np.flatnonzero((spread < _FEWEST * step) & (spread > _NOISE * np.spacing(furthest)))
    if len(rounded):
        feature = rounded[0]
        _LOG.warning(
            "%s: %s holds numbers up to %g that differ by at most %g, which float32 rounds to steps of %g; subtract "
            "their mean first%s.",
            where,
            what if numbers.ndim == 1 else f"feature {feature} of {what}",
            furthest[feature],
            spread[feature],
            step[feature],
            f" ({len(rounded)} features are such)" if len(rounded) > 1 else "",
        )
