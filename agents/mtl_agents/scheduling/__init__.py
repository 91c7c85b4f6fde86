"""Agents for scheduling."""

from mtl_agents.scheduling.bandits import ODM, TargetGain
from mtl_agents.scheduling.informed import BestStatic, Myopic, TargetOnly
from mtl_agents.scheduling.paper_qls import PaperQLS
from mtl_agents.scheduling.qls import QLS
from mtl_agents.scheduling.rule import Scheduler
from mtl_agents.scheduling.rules import (
    Adaptive,
    FocalLoss,
    Greedy,
    HandCrafted,
    LossExponentiation,
    Proportional,
    RandomSchedule,
    Uniform,
)
from mtl_agents.scheduling.search import search_weights
from mtl_agents.scheduling.targeted_rules import Exponential, PrioritiseEasy, PrioritiseHard, Sigmoid
from mtl_agents.scheduling.weighting_rules import DTP, GradNorm, Homoscedastic, SelfPaced

__all__ = [
    "DTP",
    "ODM",
    "QLS",
    "Adaptive",
    "BestStatic",
    "Exponential",
    "FocalLoss",
    "GradNorm",
    "Greedy",
    "HandCrafted",
    "Homoscedastic",
    "LossExponentiation",
    "Myopic",
    "PaperQLS",
    "PrioritiseEasy",
    "PrioritiseHard",
    "Proportional",
    "RandomSchedule",
    "Scheduler",
    "SelfPaced",
    "Sigmoid",
    "TargetGain",
    "TargetOnly",
    "Uniform",
    "search_weights",
]
