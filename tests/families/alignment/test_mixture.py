"""Sums of modules for all locations and their gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mtl_gym.families.alignment import mixture as module
from mtl_gym.families.alignment.mixture import Mixture


def parameter(*shape):
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("part", [1, 100, 2**20])
@pytest.mark.parametrize(("locations", "slots"), [(40, 1), (40, 3), (5, 2)])
def test_sums_and_gradients_equal_those_of_embedding_bag_to_the_bit(part, locations, slots, monkeypatch):
    """Modules are used several times, once or not at all; their gradient is computed in parts of several sizes."""
    monkeypatch.setattr(module, "PART", part)
    torch.manual_seed(1)
    mine, theirs, table = parameter(2, 10, 4, 3), parameter(2, 10, 4, 3), torch.randint(20, (locations, slots))
    shares, other = (torch.linspace(-1, 2, locations * slots).view_as(table).requires_grad_() for _ in range(2))
    mixed, upstream = Mixture(mine, table), torch.randn(locations, 12)
    for _ in range(2):  # a second pass overwrites the gradient of the first
        shares.grad = None
        found = mixed.sums(shares)
        found.backward(upstream)
    expected = functional.embedding_bag(table, theirs.view(20, 12), per_sample_weights=other, mode="sum")
    expected.backward(upstream)
    assert torch.equal(found, expected) and torch.equal(mine.grad, theirs.grad) and torch.equal(shares.grad, other.grad)


def test_modules_are_trained_where_no_share_is():
    modules = parameter(3, 2, 2)
    Mixture(modules, torch.tensor([[0], [2]])).sums(torch.ones(2, 1)).sum().backward()
    assert modules.grad[:, 0, 0].tolist() == [1, 0, 1]


def test_without_gradients_nothing_is_recorded():
    with torch.no_grad():
        sums = Mixture(parameter(3, 2, 2), torch.tensor([[0], [2]])).sums(torch.ones(2, 1, requires_grad=True))
    assert not sums.requires_grad
