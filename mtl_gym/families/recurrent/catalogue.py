"""Ids of the recurrent environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.registration import Card, Dial, register_family

_ENV = "mtl_gym.families.recurrent.env"

RECURRENT = Card(
    decision="The connections between the sub-networks of a layer, at every step of a sequence.",
    difficulty="The best connections depend on the task and the past; fixed connections are equal at all steps.",
    controls=("random-fixed", "all-connected"),
    dials={"layers": Dial("more sub-networks per layer: more connections")},
)
PRESETS: dict[str, dict[str, object]] = {
    "MTLRecurrent-BrainSeries-v0": {"data": "brain-series"},
    "MTLRecurrent-CodeSwitched-v0": {"data": "code-switched"},
}


def register() -> None:
    """Register the ids."""
    register_family(
        env=f"{_ENV}:RecurrentEnv", vector_env=f"{_ENV}:RecurrentVectorEnv", presets=PRESETS, card=RECURRENT
    )
