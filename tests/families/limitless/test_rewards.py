"""The diversity bonus, by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtl_gym.families.limitless.rewards import RunningBonus, diversity_bonus


def test_equation_6_by_hand():
    """Counts 7, 2, 5, 2: the range is 5, so the bonuses are 0, 1, 2/5, 1."""
    np.testing.assert_allclose(diversity_bonus(np.array([7, 2, 5, 2])), [0.0, 1.0, 0.4, 1.0])


def test_equal_counts_earn_one_each():
    assert diversity_bonus(np.array([3, 3, 3])).tolist() == [1.0, 1.0, 1.0]
    assert diversity_bonus(np.zeros(2)).tolist() == [1.0, 1.0]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_the_bonus_lies_between_0_and_1_and_falls_with_the_count(counts):
    bonus = diversity_bonus(np.array(counts))
    assert (bonus >= 0).all() and (bonus <= 1).all()
    order = np.argsort(counts)
    assert (np.diff(bonus[order]) <= 0).all()


def test_the_running_bonus_forgets():
    bonus = RunningBonus(0.5, modules=3, memory=10)
    bonus.add(np.array([0] * 30))
    assert bonus(np.array([0, 1])).tolist() == [0.0, 0.5]
    bonus.add(np.array([1] * 30))
    np.testing.assert_allclose(bonus.counts, [30 * 0.9**30, 30, 0])
    np.testing.assert_allclose(bonus(np.array([0, 1, 2])), [0.5 * (1 - 0.9**30), 0, 0.5], rtol=1e-6)
