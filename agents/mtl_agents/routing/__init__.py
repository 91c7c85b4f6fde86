"""Agents for routing."""
