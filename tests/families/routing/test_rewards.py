import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_gym.families.routing.rewards import CollaborationReward, final_reward

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
LABEL = torch.tensor([0, 0])


def test_correct_answer_earns_one_and_wrong_answer_minus_one():
    assert final_reward("correct")(LOGITS, LABEL, LABEL).tolist() == [1.0, -1.0]


def test_loss_reward_is_negative_cross_entropy():
    expected = [-np.log(1 + np.exp(-2)), -np.log(1 + np.exp(1))]
    np.testing.assert_allclose(final_reward("loss")(LOGITS, LABEL, LABEL), expected, rtol=1e-6)


def test_unknown_reward_is_refused():
    with pytest.raises(ValueError, match="reward='score' is unknown"):
        final_reward("score")


def test_collaboration_reward_is_rho_times_mean_share_of_agents():
    reward = CollaborationReward(0.3, tasks=3, depth=2, actions=4)
    # Task 0 took block 1 in 3 of 4 decisions, task 1 in 1 of 2, task 2 never.
    reward.add(np.array([0, 0, 0, 0, 1, 1, 2]), 0, np.array([1, 1, 1, 2, 1, 3, 3]))
    np.testing.assert_allclose(reward(0, np.array([1, 2, 3, 0])), 0.3 * np.array([0.625, 0.25, 0.75, 0]), rtol=1e-6)
    assert reward(1, np.array([1])).tolist() == [0.0]


def test_rho_zero_pays_nothing():
    reward = CollaborationReward(0.0, tasks=1, depth=1, actions=2)
    reward.add(np.array([0]), 0, np.array([1]))
    assert reward(0, np.array([0, 1])).tolist() == [0.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=50), st.floats(0, 10))
def test_collaboration_reward_is_bounded_by_rho_times_final_reward(decisions, rho):
    reward = CollaborationReward(rho, tasks=3, depth=1, actions=4)
    if decisions:
        reward.add(np.array([t for t, _ in decisions]), 0, np.array([a for _, a in decisions]))
    paid = reward(0, np.arange(4))
    assert (paid >= 0).all()
    assert (paid <= np.float32(rho)).all()


@pytest.mark.parametrize("rho", [-0.1, 11.0, float("nan")])
def test_rho_out_of_range_is_refused(rho):
    with pytest.raises(ValueError, match="rho="):
        CollaborationReward(rho, 1, 1, 1)
