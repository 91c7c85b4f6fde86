"""Ids of the alignment environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.registration import Card, Dial, register_family

_ENV = "mtl_gym.families.alignment.env"

ALIGNMENT = Card(
    decision="The hypermodules that challenge the current one at each location.",
    difficulty="Sharing helps only between locations of one group, and the groups are unknown.",
    controls=("fixed-alignment",),
    dials={
        "modules": Dial("more hypermodules: more assignments"),
        "generations": Dial("longer runs: more decisions"),
    },
)
PRESETS: dict[str, dict[str, object]] = {
    "MTLAlignment-Linear-v0": {"data": "linear", "block": [20, 1], "context": 1},
    "MTLAlignment-CrossModal-v0": {
        "data": "cross-modal",
        "challengers": 1,
        "challenger_share": 0.5,
        "score_learning_rate": 0.1,
        "minibatch": 32,
        "samples": 256,
        "generations": 100,
        "final_generations": 0,
    },
}


def register() -> None:
    """Register the ids."""
    register_family(
        env=f"{_ENV}:AlignmentEnv", vector_env=f"{_ENV}:AlignmentVectorEnv", presets=PRESETS, card=ALIGNMENT
    )
