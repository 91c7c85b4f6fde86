"""Linear maps by oneDNN equal torch's, gradients included."""

import pytest
import torch

from mtl_gym.core.nn import products
from mtl_gym.core.nn.products import linear, rounded


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_linear_maps_equal_torchs(monkeypatch, onednn, relu):
    if not onednn:
        monkeypatch.setattr(products, "_has_onednn", lambda: False)
    torch.manual_seed(0)
    layer, wide = torch.nn.Linear(6, 5), torch.randn(7, 2, 6)
    found = []
    for run in (lambda x: linear(x, layer.weight, layer.bias, relu), lambda x: layer(x).relu() if relu else layer(x)):
        layer.zero_grad()
        x = wide.clone().requires_grad_()
        y = run(x[:, 1])  # rows apart from each other
        (y.t() @ y.detach()).sum().backward()
        found.append([y.detach(), x.grad, layer.weight.grad.clone(), layer.bias.grad.clone()])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_numbers_of_rows_are_few_and_little_larger():
    numbers = [rounded(rows) for rows in range(1, 4097)]
    assert all(rows <= number <= rows * 9 / 8 + 1 for rows, number in enumerate(numbers, 1))
    assert len(set(numbers)) <= 16 + 8 * 8
