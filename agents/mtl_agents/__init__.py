"""Agents from the papers, with the interface of Stable-Baselines3 algorithms."""

from __future__ import annotations

from mtl_agents.alignment.controls import AlignmentAgent, FixedAlignment, RandomAlignment
from mtl_agents.alignment.evolution import DecomposedEA
from mtl_agents.base import Agent
from mtl_agents.limitless.lrn import LRN
from mtl_agents.ppo.fast_ppo import FastPPO
from mtl_agents.recurrent.controls import (
    AllConnected,
    ConnectionAgent,
    RandomConnections,
    RandomFixedConnections,
)
from mtl_agents.recurrent.straight_through import StraightThroughRouter
from mtl_agents.routing.assignment import Assignment
from mtl_agents.routing.controls import (
    FixedRouting,
    Random,
    RandomFixed,
    Separate,
    Shared,
    SoftMixture,
    TaskSpecificAll,
    TaskSpecificLast,
)
from mtl_agents.routing.dispatched import Dispatched
from mtl_agents.routing.hardening import HardeningMixture
from mtl_agents.routing.input_assignment import InputAssignment
from mtl_agents.routing.reinforce import QNetwork, Reinforce, ReinforceSingle
from mtl_agents.routing.router import RoutingAgent
from mtl_agents.routing.tables import TabularPolicyGradient, TabularQ, TabularQHistory
from mtl_agents.routing.wpl import WPL
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
    "LRN",
    "ODM",
    "QLS",
    "WPL",
    "Adaptive",
    "Agent",
    "AlignmentAgent",
    "AllConnected",
    "Assignment",
    "BestStatic",
    "ConnectionAgent",
    "DecomposedEA",
    "Dispatched",
    "Exponential",
    "FastPPO",
    "FixedAlignment",
    "FixedRouting",
    "FocalLoss",
    "GradNorm",
    "Greedy",
    "HandCrafted",
    "HardeningMixture",
    "Homoscedastic",
    "InputAssignment",
    "LossExponentiation",
    "Myopic",
    "PaperQLS",
    "PrioritiseEasy",
    "PrioritiseHard",
    "Proportional",
    "QNetwork",
    "Random",
    "RandomAlignment",
    "RandomConnections",
    "RandomFixed",
    "RandomFixedConnections",
    "RandomSchedule",
    "Reinforce",
    "ReinforceSingle",
    "RoutingAgent",
    "Scheduler",
    "SelfPaced",
    "Separate",
    "Shared",
    "Sigmoid",
    "SoftMixture",
    "StraightThroughRouter",
    "TabularPolicyGradient",
    "TabularQ",
    "TabularQHistory",
    "TargetGain",
    "TargetOnly",
    "TaskSpecificAll",
    "TaskSpecificLast",
    "Uniform",
    "search_weights",
]
