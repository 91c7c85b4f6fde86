"""Seeded training runs, comparisons of agents, reports and the command line."""
