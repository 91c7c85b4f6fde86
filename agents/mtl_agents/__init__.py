"""The papers' own routers and schedulers, with the face of Stable-Baselines3 algorithms."""

from __future__ import annotations

from mtl_agents.alignment import AlignmentAgent, FixedAlignment, RandomAlignment
from mtl_agents.base import Agent
from mtl_agents.connections import (
    AllConnected,
    ConnectionAgent,
    RandomConnections,
    RandomFixedConnections,
)
from mtl_agents.counterfactual import Counterfactual
from mtl_agents.dispatched import Dispatched
from mtl_agents.evolution import DecomposedEA
from mtl_agents.fixed import FixedRouting, Random, RandomFixed, Shared, SoftMixture, TaskSpecificAll, TaskSpecificLast
from mtl_agents.hardening import HardeningMixture
from mtl_agents.lrn import LRN
from mtl_agents.qls import QLS
from mtl_agents.reinforce import QNetwork, Reinforce, ReinforceSingle
from mtl_agents.routers import RoutingAgent
from mtl_agents.scheduler import Scheduler
from mtl_agents.schedulers import (
    Adaptive,
    FocalLoss,
    Greedy,
    HandCrafted,
    LossExponentiation,
    RandomSchedule,
    Uniform,
)
from mtl_agents.search import search_weights
from mtl_agents.straight_through import StraightThroughRouter
from mtl_agents.tabular import TabularPolicyGradient, TabularQ, TabularQHistory
from mtl_agents.targeted import Exponential, PrioritiseEasy, PrioritiseHard, Sigmoid
from mtl_agents.weighting import DTP, GradNorm, Homoscedastic, SelfPaced
from mtl_agents.wpl import WPL

__all__ = [
    "DTP",
    "LRN",
    "QLS",
    "WPL",
    "Adaptive",
    "Agent",
    "AlignmentAgent",
    "AllConnected",
    "ConnectionAgent",
    "Counterfactual",
    "DecomposedEA",
    "Dispatched",
    "Exponential",
    "FixedAlignment",
    "FixedRouting",
    "FocalLoss",
    "GradNorm",
    "Greedy",
    "HandCrafted",
    "HardeningMixture",
    "Homoscedastic",
    "LossExponentiation",
    "PrioritiseEasy",
    "PrioritiseHard",
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
    "Shared",
    "Sigmoid",
    "SoftMixture",
    "StraightThroughRouter",
    "TabularPolicyGradient",
    "TabularQ",
    "TabularQHistory",
    "TaskSpecificAll",
    "TaskSpecificLast",
    "Uniform",
    "search_weights",
]
