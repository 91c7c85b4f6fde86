"""Limitless routing networks: an episode assembles a network of modules for one input, then runs it."""
