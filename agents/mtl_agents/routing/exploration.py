"""Exploration of routers that learn values: epsilon-greedy, and an annealed softmax."""

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


def annealed_softmax(values: Floats, beta: float) -> Floats:
    """Return weights in proportion to softmax(beta x values), at most 1 and above 0; float64 [n, actions].

    Masked choices have the value -inf. Limits keep their weights finite and those of all valid choices above 0.

    Example:
        >>> annealed_softmax(np.array([[0.0, 1.0, -np.inf]]), 0.0)
        array([[1., 1., 1.]])
    """
    return np.exp((beta * (values - values.max(-1, keepdims=True)).clip(-1e6)).clip(-700))


def rising_beta(agent: LearningRouter, final: float, fraction: float) -> Floats:
    """Return the inverse temperature now: it rises linearly from 0 to `final` over a fraction of the training."""
    return np.array(final * min(1.0, agent.num_timesteps / (fraction * agent.total_timesteps)))
