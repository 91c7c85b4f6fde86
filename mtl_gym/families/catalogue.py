"""Catalogue of the environment ids of the five families, with presets and cards."""

from __future__ import annotations

from mtl_gym.registration import Card, register_family

ROUTING = Card(
    decision="The block that an input takes at each routed layer.",
    difficulty="Tasks that share blocks help or harm each other; a fixed route per task cannot adapt to that.",
    controls=("random-fixed", "task-specific-all", "task-specific-last", "shared"),
    dials={"depth": "more routed layers: more decisions", "blocks": "more blocks per layer: more routes"},
)
LIMITLESS = Card(
    decision="The module of a pool that processes an input next, or the end of the network.",
    difficulty="All tasks and depths share the modules, so a fixed network per task uses few of them well.",
    controls=("random-fixed",),
    dials={"max_depth": "longer networks: more decisions", "duplicates": "more copies of each module: more networks"},
)
SCHEDULING = Card(
    decision="The task of the next minibatch, or the weights of the tasks' losses.",
    difficulty="Tasks learn at different speeds and affect each other's gains; a fixed share per task ignores both.",
    controls=("uniform", "hand-crafted"),
    dials={"updates": "longer training: more decisions", "updates_per_step": "more updates per decision: fewer"},
)
RECURRENT = Card(
    decision="The connections between the sub-networks of a layer, at every step of a sequence.",
    difficulty="The best connections depend on the task and the past; fixed connections are equal at all steps.",
    controls=("random-fixed", "all-connected"),
    dials={"layers": "more sub-networks per layer: more connections"},
)
ALIGNMENT = Card(
    decision="The hypermodules that challenge the current one at each location.",
    difficulty="Sharing helps only between locations of one group, and the groups are unknown.",
    controls=("fixed-alignment",),
    dials={"modules": "more hypermodules: more assignments", "generations": "longer runs: more decisions"},
    floor=("random", "random-alignment"),
)

# Evaluating validation samples after every update would take most of the time.
LOOK: dict[str, object] = {"hard_samples": 16, "updates_per_step": 10}

Presets = dict[str, dict[str, object]]
FAMILIES: dict[str, tuple[str, Card, Presets]] = {
    "routing": (
        "Routing",
        ROUTING,
        {
            "MTLRouting-Digits-v0": {"data": "digits", "hidden": 64},
            "MTLRouting-MNIST-v0": {"data": "mnist"},
            "MTLRouting-CIFAR-v0": {"data": "cifar"},
            "MTLRouting-MiniImageNet-v0": {"data": "mini-imagenet"},
        },
    ),
    "limitless": (
        "Limitless",
        LIMITLESS,
        {
            "MTLLimitless-Digits-v0": {"data": "digits", "image_shape": [1, 8, 8], "learning_rate": 1e-3},
            "MTLLimitless-MNIST-v0": {"data": "mnist"},
            "MTLLimitless-CIFAR-v0": {"data": "cifar"},
            "MTLLimitless-MiniImageNet-v0": {"data": "mini-imagenet", "image_shape": [3, 28, 28]},
        },
    ),
    "scheduling": (
        "Scheduling",
        SCHEDULING,
        {
            "MTLScheduling-Digits-v0": {"data": "digits"},
            "MTLScheduling-Reviews-v0": {"data": "reviews", "validation_samples": 32, **LOOK},
            "MTLScheduling-Tagging-v0": {"data": "tagging", "validation_samples": 64, **LOOK},
            "MTLScheduling-CIFAR-v0": {"data": "cifar", "validation_samples": 32, **LOOK},
        },
    ),
    "recurrent": (
        "Recurrent",
        RECURRENT,
        {
            "MTLRecurrent-BrainSeries-v0": {"data": "brain-series"},
            "MTLRecurrent-CodeSwitched-v0": {"data": "code-switched"},
        },
    ),
    "alignment": (
        "Alignment",
        ALIGNMENT,
        {
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
        },
    ),
}


def register() -> None:
    """Register the five families."""
    for folder, (name, card, presets) in FAMILIES.items():
        module = f"mtl_gym.families.{folder}.env"
        register_family(env=f"{module}:{name}Env", vector_env=f"{module}:{name}VectorEnv", presets=presets, card=card)
