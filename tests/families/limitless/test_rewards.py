"""Hand-computed diversity bonus."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtl_gym.families.limitless.rewards import RunningBonus, diversity_bonus


def test_diversity_bonus_matches_hand_computed_equation_6():
    """Check counts 7, 2, 5, 2: the range is 5, so the bonuses are 0, 1, 2/5, 1."""
    np.testing.assert_allclose(diversity_bonus(np.array([7, 2, 5, 2])), [0.0, 1.0, 0.4, 1.0])


def test_equal_counts_earn_bonus_one():
    assert diversity_bonus(np.array([3, 3, 3])).tolist() == [1.0, 1.0, 1.0]
    assert diversity_bonus(np.zeros(2)).tolist() == [1.0, 1.0]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_bonus_lies_in_unit_interval_and_falls_with_count(counts):
    bonus = diversity_bonus(np.array(counts))
    assert (bonus >= 0).all() and (bonus <= 1).all()
    order = np.argsort(counts)
    assert (np.diff(bonus[order]) <= 0).all()


def test_running_bonus_decays_old_counts():
    bonus = RunningBonus(0.5, modules=3, memory=10)
    bonus.add(np.array([0] * 30))
    assert bonus(np.array([0, 1])).tolist() == [0.0, 0.5]
    bonus.add(np.array([1] * 30))
    np.testing.assert_allclose(bonus.counts, [30 * 0.9**30, 30, 0])
    np.testing.assert_allclose(bonus(np.array([0, 1, 2])), [0.5 * (1 - 0.9**30), 0, 0.5], rtol=1e-6)
