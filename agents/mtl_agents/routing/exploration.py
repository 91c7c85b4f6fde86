"""Epsilon-greedy exploration of routers that learn values."""

from __future__ import annotations

import numpy as np

from mtl_agents.routing.decisions import Floats
from mtl_agents.routing.router import Masks
from mtl_agents.routing.routes import LearningRouter
from mtl_gym.core.rows import Array


def epsilon_greedy(values: Array, valid: Masks, epsilon: Floats | int) -> Floats:
    """Return the probabilities of all choices: mostly the best, ties broken evenly; [n, actions].

    Invalid choices have the value -inf.
    """
    best = values == values.max(-1, keepdims=True)
    greedy, uniform = best / best.sum(-1, keepdims=True), valid / valid.sum(-1, keepdims=True)
    return (1 - epsilon) * greedy + epsilon * uniform


def falling_epsilon(agent: LearningRouter, final: float, fraction: float) -> Floats:
    """Return the share of random choices now: it falls linearly from 1 to `final` over a fraction of the training."""
    progress = agent.num_timesteps / max(1.0, fraction * agent.total_timesteps)
    return np.array(max(final, 1 - (1 - final) * progress))
