"""Ids of the scheduling environments, with presets and cards."""

from __future__ import annotations

from mtl_gym.families.measured import measured
from mtl_gym.registration import Card, Dial, register_family

_ENV, _SKILLS = "mtl_gym.families.scheduling.env", "mtl_gym.families.scheduling.skills"
_PREREQUISITES = "mtl_gym.families.scheduling.prerequisites"
_TEXT_MIXTURE = "mtl_gym.families.scheduling.text_mixture"
_TRANSLATION = "mtl_gym.families.scheduling.translation"

SCHEDULING = Card(
    decision="The task of the next minibatch, or the weights of the tasks' losses.",
    difficulty="Tasks learn at different speeds and affect each other's gains; a fixed share per task ignores both.",
    controls=("uniform", "hand-crafted"),
    dials={
        "updates": Dial("longer training: more decisions"),
        "updates_per_step": Dial("more updates per decision: fewer"),
    },
)
SKILLS_ID = "MTLScheduling-Skills-v0"
SKILLS = Card(
    decision="The task that a learner practises next.",
    difficulty=(
        "A skill grows only once its prerequisite is mastered, so both the best next gain and constant shares "
        "leave a skill too early. The budget is limited: the distance also holds at half and at twice the budget."
    ),
    controls=("myopic", "best-static", "uniform"),
    oracle="oracle",
    evidence=(
        "Proof that skills in the order of the chain are best without forgetting, and a search over all switch times: "
        "benchmarks/optima/skills.py. With forgetting, a beam search."
    ),
    dials={
        "forgetting": Dial(
            "more: mixing replaces sequences, and the distance shrinks", (0.0, 0.002, 0.005, 0.01, 0.02)
        ),
        "skills": Dial("more: a longer chain for the same budget", (3, 4, 5, 6, 7)),
        "budget": Dial("more: every schedule ends higher", (30, 45, 60, 90, 120)),
        "noise_tasks": Dial("more: uninformed schedulers waste more decisions", (0, 1, 3, 6)),
    },
    learners=("qls",),
    steps=60_000,
    num_envs=16,
    lengths=({"budget": 30}, {"budget": 120}),
    measured=measured(SKILLS_ID),
)
PREREQUISITES_ID = "MTLScheduling-Prerequisites-v0"
PREREQUISITES = Card(
    decision="The task of the next four minibatches.",
    difficulty=(
        "Parity has too few samples to be learned before its prerequisite. Equal shares, and training the highest "
        "loss, spend the run on useless tasks. The budget is limited: the distance also holds at half and at twice the "
        "budget."
    ),
    controls=("uniform", "greedy", "proportional"),
    oracle="oracle",
    evidence="Search over all schedules of pattern and parity: benchmarks/optima/prerequisites.py.",
    dials={
        "parity_samples": Dial("fewer: parity depends more on its prerequisite", (64, 32, 16, 12)),
        "noise_tasks": Dial("more: uniform and random schedules waste more", (0, 1, 2, 4)),
        "updates": Dial("fewer: useless tasks cost more", (64, 32, 16)),
    },
    learners=("qls",),
    steps=16_384,
    num_envs=128,
    measured=measured(PREREQUISITES_ID),
    lengths=({"updates": 16}, {"updates": 64}),
)
TEXT_MIXTURE_ID = "MTLScheduling-TextMixture-v0"
TEXT_MIXTURE = Card(
    decision="The source of the next six minibatches of a language model.",
    difficulty=(
        "A model trained on the target alone memorises it. Equal shares and shares by size spend the run on junk, "
        "which also has the highest loss. The budget is limited: the distance also holds at half and at twice the "
        "budget."
    ),
    controls=("uniform", "target-only", "proportional", "greedy"),
    oracle="oracle",
    evidence="Search over schedules of the target and related sources: benchmarks/optima/text_mixture.py.",
    dials={
        "junk": Dial("more: uniform and random schedules waste more", (0, 1, 2, 4)),
        "target_bytes": Dial("fewer: the target is memorised sooner", (2000, 1000, 500, 250)),
        "updates": Dial("more: the target is memorised, and junk matters less", (24, 48, 96)),
    },
    learners=("qls",),
    steps=16_384,
    num_envs=128,
    measured=measured(TEXT_MIXTURE_ID),
    lengths=({"updates": 24}, {"updates": 96}),
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

TRANSLATION_ID = "MTLScheduling-Translation-v0"


def register() -> None:
    """Register the ids."""
    register_family(
        env=f"{_ENV}:SchedulingEnv", vector_env=f"{_ENV}:SchedulingVectorEnv", presets=PRESETS, card=SCHEDULING
    )
    register_family(
        env=f"{_SKILLS}:SkillsEnv", vector_env=f"{_SKILLS}:SkillsVectorEnv", presets={SKILLS_ID: {}}, card=SKILLS
    )
    register_family(
        env=f"{_PREREQUISITES}:PrerequisitesEnv",
        vector_env=f"{_PREREQUISITES}:PrerequisitesVectorEnv",
        presets={PREREQUISITES_ID: {}},
        card=PREREQUISITES,
    )
    register_family(
        env=f"{_TEXT_MIXTURE}:TextMixtureEnv",
        vector_env=f"{_TEXT_MIXTURE}:TextMixtureVectorEnv",
        presets={TEXT_MIXTURE_ID: {}},
        card=TEXT_MIXTURE,
    )
    register_family(
        env=f"{_TRANSLATION}:TranslationEnv",
        vector_env=f"{_TRANSLATION}:TranslationVectorEnv",
        presets={TRANSLATION_ID: {}},
        card=SCHEDULING,
    )
