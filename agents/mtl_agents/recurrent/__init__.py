"""Agents for recurrent."""
