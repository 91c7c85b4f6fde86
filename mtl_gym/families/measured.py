"""Figures of the benchmark ids, as `mtl-gym gate --write` measured them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from mtl_gym.registration import Measured

FILE = "measured.json"


@cache
def _figures() -> dict[str, dict[str, dict[str, float]]]:
    return json.loads((files("mtl_gym.families") / FILE).read_text())


def measured(env_id: str) -> dict[str, Measured]:
    """Return the measured figures of an id by agent name; empty before its first measurement.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        return {
            agent: Measured(one["mean"], one["spread"], int(one["seeds"]), int(one["steps"]))
            for agent, one in _figures().get(env_id, {}).items()
        }
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"The figures of {env_id} in {files('mtl_gym.families') / FILE} are damaged ({error}); install mtl_gym "
            f"anew, or delete them and measure: mtl-gym gate {env_id} --out FOLDER --write FILE."
        ) from error
