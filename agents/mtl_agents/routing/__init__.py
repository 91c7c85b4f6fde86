"""Agents for the routing environments."""

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

__all__ = [
    "WPL",
    "Assignment",
    "Dispatched",
    "FixedRouting",
    "HardeningMixture",
    "InputAssignment",
    "QNetwork",
    "Random",
    "RandomFixed",
    "Reinforce",
    "ReinforceSingle",
    "RoutingAgent",
    "Separate",
    "Shared",
    "SoftMixture",
    "TabularPolicyGradient",
    "TabularQ",
    "TabularQHistory",
    "TaskSpecificAll",
    "TaskSpecificLast",
]
