"""Agents for the recurrent routing environments."""

from mtl_agents.recurrent.controls import AllConnected, ConnectionAgent, RandomConnections, RandomFixedConnections
from mtl_agents.recurrent.straight_through import StraightThroughRouter

__all__ = ["AllConnected", "ConnectionAgent", "RandomConnections", "RandomFixedConnections", "StraightThroughRouter"]
