import numpy as np
import pytest

from mtl_gym.core.sampling import Pass


@pytest.mark.parametrize(("rows", "size"), [(1, 5), (2, 5), (3, 6), (4, 7), (7, 3)])
def test_a_pass_has_every_sample_once_in_the_shares_per_row_that_sb3_counts(rows, size):
    samples, random = Pass(size, rows), np.random.default_rng(0)
    given = [[] for _ in range(rows)]
    for _ in range(40 * size):
        some = np.flatnonzero(random.random(rows) < 0.5)
        for row, sample in zip(some, samples.supply(some, 1), strict=True):
            given[row].append(sample)
    real = [[sample for sample in row if sample >= 0] for row in given]
    assert sorted(np.concatenate(real).tolist()) == list(range(size))
    assert [len(row) for row in real] == [(size + row) // rows for row in range(rows)]
    assert all(row == sorted(row) for row in real)
