"""The papers' own routers and schedulers, with the face of Stable-Baselines3 algorithms."""

from __future__ import annotations

from mtl_agents.base import Agent
from mtl_agents.fixed import FixedRouting, Random, RandomFixed, Shared, TaskSpecificAll, TaskSpecificLast
from mtl_agents.wpl import WPL

__all__ = ["WPL", "Agent", "FixedRouting", "Random", "RandomFixed", "Shared", "TaskSpecificAll", "TaskSpecificLast"]
