"""Leaderboard: entries that others can replay, and the page that is made of them."""

from __future__ import annotations
