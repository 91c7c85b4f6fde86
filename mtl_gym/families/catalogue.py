"""Registration of the environment ids of the five families."""

from __future__ import annotations

from mtl_gym.families.alignment import catalogue as alignment
from mtl_gym.families.limitless import catalogue as limitless
from mtl_gym.families.recurrent import catalogue as recurrent
from mtl_gym.families.routing import catalogue as routing
from mtl_gym.families.scheduling import catalogue as scheduling


def register() -> None:
    """Register the five families."""
    for family in (routing, limitless, scheduling, recurrent, alignment):
        family.register()
