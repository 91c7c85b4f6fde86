"""Ids of the recurrent environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _SWITCHING = "mtl_gym.families.recurrent.env", "mtl_gym.families.recurrent.switching"
SWITCHING_ID = "MTLRecurrent-Switching-v0"

RECURRENT = Card(
    decision="The connections between the sub-networks of a layer, at every step of a sequence.",
    difficulty="The best connections depend on the task and the past; fixed connections are equal at all steps.",
    controls=("random-fixed", "all-connected"),
    dials={"layers": Dial("more sub-networks per layer: more connections")},
)
SWITCHING = Card(
    decision="The linear modules that are on at each step of a sequence with changing regimes.",
    difficulty="The right module depends on regime and task; a choice that ignores either is right by chance.",
    controls=("random-fixed", "all-connected"),
    oracle="oracle",
    evidence="By construction: labels follow the rule of one module, and the oracle computes the most likely regime.",
    dials={
        "regimes": Dial("more regimes: more modules to choose from", (2, 4, 6)),
        "num_tasks": Dial("more tasks: fewer episodes of each", (2, 4, 8)),
        "noise": Dial("more noise: cues are confused more often", (0.5, 1.0, 1.5, 2.0)),
        "head_start": Dial("more: modules are easier to distinguish", (0.5, 1.0, 2.0, 4.0)),
    },
    learners=("straight-through",),
    steps=80_000,
    num_envs=64,
    measured=measured(SWITCHING_ID),
)
PRESETS: dict[str, dict[str, object]] = {
    "MTLRecurrent-BrainSeries-v0": {"data": "brain-series"},
    "MTLRecurrent-ClinicalSeries-v0": {"data": "clinical-series"},
    "MTLRecurrent-CodeSwitched-v0": {"data": "code-switched"},
}


def register() -> None:
    """Register the ids."""
    register_family(
        env=f"{_ENV}:RecurrentEnv", vector_env=f"{_ENV}:RecurrentVectorEnv", presets=PRESETS, card=RECURRENT
    )
    register_family(
        env=f"{_SWITCHING}:SwitchingEnv",
        vector_env=f"{_SWITCHING}:SwitchingVectorEnv",
        presets={SWITCHING_ID: {}},
        card=SWITCHING,
    )
