"""Search for the weights of `HandCrafted`, with candidates as rows of one batched environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_agents.environments import interface
from mtl_agents.scheduling.rule import Floats
from mtl_gym.core.interfaces import TARGETS
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env


def search_weights(
    env_id: str,
    candidates: Sequence[Sequence[float]] | None = None,
    *,
    repeats: int = 1,
    seed: int = 0,
    **options: Any,
) -> tuple[list[float], Floats]:
    """Train runs with candidate weights, and return the weights of highest final mean validation accuracy.

    The mean is over the tasks that count. The test split is not used. All runs are trained together, as one stacked
    computation.

    Args:
        env_id: Id of a scheduling environment.
        candidates: Candidates with one weight per task; by default those of `one_at_a_time`.
        repeats: Runs per candidate, to average the accuracy.
        seed: Seed of the environment.
        **options: Options of the environment.

    Returns:
        The best weights, and the accuracy of every candidate; float64 [candidates].

    Example:
        >>> weights, accuracy = search_weights("MTLScheduling-Digits-v0", updates=20, reference=None)
        >>> len(weights), accuracy.shape
        (10, (21,))
    """
    tasks = make_vec_env(env_id, **{"control": "weights"} | options).action_space.shape
    assert tasks is not None
    weights = one_at_a_time(tasks[0]) if candidates is None else np.asarray(candidates, float)
    rows = np.repeat(weights, repeats, 0)
    env = make_vec_env(env_id, len(rows), seed, **{"control": "weights"} | options)
    accuracy = _final_accuracy(env, rows / rows.max(1, keepdims=True)).reshape(-1, repeats).mean(1)
    return weights[accuracy.argmax()].tolist(), accuracy


def one_at_a_time(tasks: int, factors: Sequence[float] = (0.5, 2.0)) -> Floats:
    """Return equal weights, and weights with one task multiplied by a factor; float64 [1 + tasks * factors, tasks].

    Example:
        >>> one_at_a_time(2).tolist()
        [[1.0, 1.0], [0.5, 1.0], [1.0, 0.5], [2.0, 1.0], [1.0, 2.0]]
    """
    changed = [np.where(np.eye(tasks, dtype=bool), factor, 1.0) for factor in factors]
    return np.concatenate([np.ones((1, tasks)), *changed])


def _final_accuracy(env: BatchedVecEnv, weights: Floats) -> Floats:
    """Return the final mean validation accuracy of runs with constant weights; [rows, tasks] -> float64 [rows]."""
    env.reset()
    dones = np.zeros(env.num_envs, bool)
    while not dones.all():
        _, _, dones, infos = env.step(weights.astype(np.float32))
    targets = interface(env, TARGETS, "search_weights").targets
    return np.array([info["accuracy"][targets].mean() for info in infos], float)
