"""Generic and specific modules, contexts and linear maps, and their statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl_gym.families.alignment.generality import Genericity, genericity
from mtl_gym.families.alignment.joint import Form, JointModel


def test_statistics_are_those_of_each_tensor():
    part = Genericity(torch.tensor([[3.0, -1.0], [0.0, 4.0], [1.0, 1.0]]), torch.tensor([True, False, True]))
    expected = {"stdev": ([2, 0], [2]), "max": ([3, 1], [4]), "mean": ([1, 1], [2]), "norm": ([10**0.5, 2**0.5], [4])}
    for name, (generic, specific) in expected.items():
        found = part.compare(name)
        assert found[0].tolist() == pytest.approx(generic) and found[1].tolist() == pytest.approx(specific)


def test_a_module_is_generic_with_more_than_c_locations():
    joint = JointModel([nn.Linear(8, 8), nn.Linear(8, 4)], Form((4, 4), 2))
    joint.assignment[0] = torch.tensor([0, 0, 1, 1, 1, 5])
    found = genericity(joint)
    assert found["modules"].generic.tolist() == [False, True, False]  # modules 0, 1 and 5
    assert found["contexts"].generic.tolist() == [False, False, True, True, True, False]
    expected = torch.einsum("lc,lcmn->lmn", joint.contexts[0], joint.hypermodules[0, joint.assignment[0]])
    assert torch.allclose(found["maps"].tensors, expected.flatten(1), atol=1e-6)
