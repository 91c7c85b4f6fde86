"""Agents for alignment."""

from mtl_agents.alignment.controls import AlignmentAgent, FixedAlignment, RandomAlignment
from mtl_agents.alignment.evolution import DecomposedEA

__all__ = ["AlignmentAgent", "DecomposedEA", "FixedAlignment", "RandomAlignment"]
