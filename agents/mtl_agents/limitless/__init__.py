"""Agents for limitless routing."""

from mtl_agents.limitless.lrn import LRN

__all__ = ["LRN"]
