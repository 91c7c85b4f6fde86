"""Agents for limitless."""
