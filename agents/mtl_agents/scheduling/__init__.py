"""Agents for scheduling."""
