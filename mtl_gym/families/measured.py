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
    """Return the measured figures of an id by agent name; empty before its first measurement."""
    return {
        agent: Measured(one["mean"], one["spread"], int(one["seeds"]), int(one["steps"]))
        for agent, one in _figures().get(env_id, {}).items()
    }
