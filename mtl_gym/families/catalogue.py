"""Registration of the environment ids of the five families."""

from __future__ import annotations

import warnings

from mtl_gym.families.alignment import catalogue as alignment
from mtl_gym.families.limitless import catalogue as limitless
from mtl_gym.families.recurrent import catalogue as recurrent
from mtl_gym.families.routing import catalogue as routing
from mtl_gym.families.scheduling import catalogue as scheduling

# Gymnasium's warning about an id with a newer version.
OUTDATED = r".*The environment MTL\S+ is out of date"


def register() -> None:
    """Register the five families.

    An older version of an id replicates a paper and does not go out of date, so that Gymnasium's warning is ignored.
    """
    warnings.filterwarnings("ignore", OUTDATED, DeprecationWarning)
    for family in (routing, limitless, scheduling, recurrent, alignment):
        family.register()
