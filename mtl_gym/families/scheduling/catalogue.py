"""Ids of the scheduling environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.registration import Card, Dial, register_family

_ENV = "mtl_gym.families.scheduling.env"

SCHEDULING = Card(
    decision="The task of the next minibatch, or the weights of the tasks' losses.",
    difficulty="Tasks learn at different speeds and affect each other's gains; a fixed share per task ignores both.",
    controls=("uniform", "hand-crafted"),
    dials={
        "updates": Dial("longer training: more decisions"),
        "updates_per_step": Dial("more updates per decision: fewer"),
    },
)
# Evaluating validation samples after every update would take most of the time.
LOOK: dict[str, object] = {"hard_samples": 16, "updates_per_step": 10}
PRESETS: dict[str, dict[str, object]] = {
    "MTLScheduling-Digits-v0": {"data": "digits"},
    "MTLScheduling-Digits-v1": {"data": "digits", "updates": 300, "updates_per_step": 3},
    "MTLScheduling-Reviews-v0": {"data": "reviews", "validation_samples": 32, **LOOK},
    "MTLScheduling-Tagging-v0": {"data": "tagging", "validation_samples": 64, **LOOK},
    "MTLScheduling-CIFAR-v0": {"data": "cifar", "validation_samples": 32, **LOOK},
}


def register() -> None:
    """Register the ids."""
    register_family(
        env=f"{_ENV}:SchedulingEnv", vector_env=f"{_ENV}:SchedulingVectorEnv", presets=PRESETS, card=SCHEDULING
    )
