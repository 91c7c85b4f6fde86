"""Agents for the limitless routing environments."""

from mtl_agents.limitless.lrn import LRN

__all__ = ["LRN"]
