import numpy as np
import torch
from torch import nn

from mtl_gym.core.nn.frozen import FrozenLinear, alike
from mtl_gym.core.nn.weights import renewed


def test_a_frozen_map_is_not_drawn_anew():
    network = nn.Sequential(FrozenLinear(torch.tensor([[2.0, 0.0]])), nn.Linear(1, 1))
    twin = renewed(network)
    assert torch.equal(twin[0].weight, network[0].weight) and not torch.equal(twin[1].weight, network[1].weight)
    assert twin[0](torch.tensor([[3.0, 1.0]])).tolist() == [[6.0]]


def test_alike_matrices_share_the_identity():
    """By hand: 0.75 I + 0.25 Q with Q orthogonal; parts of Q have orthonormal rows or columns."""
    for outputs, inputs in ((4, 4), (2, 4), (4, 2)):
        matrices = alike(3, outputs, inputs, 0.75, np.random.default_rng(0)).double()
        own = 4 * matrices - 3 * torch.eye(outputs, inputs)
        gram = own @ own.mT if outputs <= inputs else own.mT @ own
        torch.testing.assert_close(gram, torch.eye(min(outputs, inputs)).double().expand(3, -1, -1), atol=1e-6, rtol=0)
        assert not torch.allclose(own[0], own[1])
