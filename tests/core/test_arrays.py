"""State of dataclasses of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mtl_gym.core.rows import Rows
from mtl_gym.core.state.arrays import arrays_of, tensors_of


@dataclass
class Counts:
    seen: Rows
    last: Rows | None = None


def test_a_state_is_a_copy_with_the_same_types():
    counts = Counts(np.array([1, 2]), np.array([], np.int64))
    state = tensors_of(counts)
    counts.seen[0] = 9
    assert state["seen"].tolist() == [1, 2] and state["seen"].dtype == torch.int64
    back = arrays_of(Counts, state)
    back.seen[1] = 9
    assert state["seen"].tolist() == [1, 2]
    assert back.last is not None and back.last.shape == (0,)


def test_a_missing_array_stays_none():
    assert arrays_of(Counts, tensors_of(Counts(np.array([1])))).last is None


def test_a_state_with_other_fields_is_refused():
    with pytest.raises(TypeError):
        arrays_of(Counts, {"seen": torch.zeros(1), "elsewhere": torch.zeros(1)})
