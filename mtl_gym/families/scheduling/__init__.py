"""Task scheduling: choose the task to train next, or the weight of each task's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_gym.core.lazy import lazily

if TYPE_CHECKING:
    from mtl_gym.families.scheduling.env import SchedulingEnv, SchedulingVectorEnv
    from mtl_gym.families.scheduling.lstm import LSTM
    from mtl_gym.families.scheduling.network import SharedNetwork, plain_network
    from mtl_gym.families.scheduling.objectives import Classification, Focal, Objective, Tagging
    from mtl_gym.families.scheduling.options import SchedulingOptions
    from mtl_gym.families.scheduling.presets import review_network, tagging_network
    from mtl_gym.families.scheduling.progress import Progress
    from mtl_gym.families.scheduling.render import histograms_over_time
    from mtl_gym.families.scheduling.skills import SkillsEnv, SkillsOptions, SkillsVectorEnv
    from mtl_gym.families.scheduling.text import CRFHead, ReviewEncoder, SpellingEncoder, TaggingEncoder, TokenEmbedding

__all__ = [
    "LSTM",
    "CRFHead",
    "Classification",
    "Focal",
    "Objective",
    "Progress",
    "ReviewEncoder",
    "SchedulingEnv",
    "SchedulingOptions",
    "SchedulingVectorEnv",
    "SharedNetwork",
    "SkillsEnv",
    "SkillsOptions",
    "SkillsVectorEnv",
    "SpellingEncoder",
    "Tagging",
    "TaggingEncoder",
    "TokenEmbedding",
    "histograms_over_time",
    "plain_network",
    "review_network",
    "tagging_network",
]

__getattr__ = lazily(
    __name__,
    {
        "env": ("SchedulingEnv", "SchedulingVectorEnv"),
        "lstm": ("LSTM",),
        "network": ("SharedNetwork", "plain_network"),
        "objectives": ("Classification", "Focal", "Objective", "Tagging"),
        "options": ("SchedulingOptions",),
        "presets": ("review_network", "tagging_network"),
        "progress": ("Progress",),
        "render": ("histograms_over_time",),
        "skills": ("SkillsEnv", "SkillsOptions", "SkillsVectorEnv"),
        "text": ("CRFHead", "ReviewEncoder", "SpellingEncoder", "TaggingEncoder", "TokenEmbedding"),
    },
)
