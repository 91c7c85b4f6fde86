"""Agents for alignment."""
