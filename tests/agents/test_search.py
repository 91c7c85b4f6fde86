"""Search of hand-crafted weights on validation data."""

import numpy as np
import pytest
from mtl_agents import HandCrafted, search_weights
from mtl_agents.scheduling.search import one_at_a_time

from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.schedules import DIGITS, SMALL

OPTIONS = SMALL | {"updates": 60, "minibatch": 16, "learning_rate": 3e-3}


def test_the_candidate_with_the_highest_validation_accuracy_is_returned():
    """Training all tasks is better than training only the first; a constant answer no is right in 90%."""
    alone, all_tasks = np.eye(10)[0].tolist(), [1.0] * 10
    weights, accuracy = search_weights(DIGITS, [alone, all_tasks], repeats=2, **OPTIONS)
    assert weights == all_tasks and accuracy[1] > accuracy[0]


def test_accuracies_are_final_accuracies_of_runs_with_the_weights():
    candidates = [[1, 0.5] * 5, [1.0] * 10]
    _, accuracy = search_weights(DIGITS, candidates, seed=3, **OPTIONS)
    env = make_vec_env(DIGITS, 2, 3, control="weights", **OPTIONS)
    env.reset()
    for _ in range(60):
        *_, infos = env.step(np.array(candidates, np.float32))
    assert accuracy.tolist() == pytest.approx([info["mean_accuracy"] for info in infos])


def test_the_weights_fit_hand_crafted():
    weights, accuracy = search_weights(DIGITS, **SMALL | {"updates": 5})
    assert accuracy.shape == (21,) and weights in one_at_a_time(10).tolist()
    assert HandCrafted(DIGITS, weights=weights).weights.tolist() == weights
