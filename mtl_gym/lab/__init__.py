"""Seeded training runs, and comparisons of agents over many of them."""
