"""Ids of the alignment environments, with presets and cards."""

from __future__ import annotations

from dataclasses import replace

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _LINEAR = "mtl_gym.families.alignment.env", "mtl_gym.families.alignment.linear"
DISCRETE_ID = "MTLAlignment-LinearDiscrete-v1"

ALIGNMENT = Card(
    decision="The hypermodules that challenge the current one at each location.",
    difficulty="Sharing helps only between locations of one group, and the groups are unknown.",
    controls=("fixed-alignment",),
    dials={
        "modules": Dial("more hypermodules: more assignments"),
        "generations": Dial("longer runs: more decisions"),
    },
)
LINEAR = replace(
    ALIGNMENT,
    controls=("fixed-alignment", "random", "random-alignment"),
    dials={
        "noise": Dial("more noise: samples reveal less about the groups"),
        "modules": Dial("more hypermodules: more assignments"),
        "generations": Dial("longer runs: more decisions"),
    },
)
DISCRETE = Card(
    decision="The hypermodule of the current location, or no change.",
    difficulty="A module fits the tasks of one group only, and the groups are unknown.",
    controls=("fixed-alignment", "random", "random-alignment"),
    oracle="oracle",
    evidence="By construction: one module per group; without noise its tasks' 100 samples determine the 20 weights.",
    dials={
        "noise": Dial("more noise: samples reveal less about the groups", (0.0, 0.25, 0.5, 1.0)),
        "modules": Dial("more hypermodules: more wrong choices", (3, 4, 6)),
        "generations": Dial("longer runs: more decisions per location, and modules converge", (20, 40, 80)),
    },
    learners=("decomposed-ea",),
    steps=40_960,
    num_envs=64,
    measured=measured(DISCRETE_ID),
    # Runs are independent, so that more of them are no longer training: the distance must hold in a longer run.
    lengths=({"generations": 160},),
)
# One decision is about one location, so a run has more and shorter generations.
ONE: dict[str, object] = {
    "action": "one",
    "challengers": 1,
    "modules": 3,
    "generations": 40,
    "iterations": 5,
    "learning_rate": 0.05,
    # A challenger begins with 0.9 of the belief, and 5 updates of at most 0.2 leave it above a half: it always stays.
    "challenger_share": 0.9,
    "score_learning_rate": 0.2,
}
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
    for presets, card in (({"MTLAlignment-Linear-v1": {"challengers": 4}}, LINEAR), ({DISCRETE_ID: ONE}, DISCRETE)):
        register_family(env=f"{_LINEAR}:LinearEnv", vector_env=f"{_LINEAR}:LinearVectorEnv", presets=presets, card=card)
