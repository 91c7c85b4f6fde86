"""Parts of the router: linear maps, packing and candidates."""

import pytest
import torch
from mtl_agents.limitless import products
from mtl_agents.limitless.candidates import Candidates, Padding
from mtl_agents.limitless.products import linear, rounded


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


def test_packing_and_padding_keep_values_and_gradients():
    present = torch.rand(40, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    values = torch.randn(40, 9, 3, requires_grad=True)
    padding = Padding(present)
    packed = padding.pack(values)
    count = int(present.sum())
    assert len(packed) == rounded(count) > count and torch.equal(packed[:count], values[present])
    padding.pad(packed * 2).square().sum().backward()
    expected = torch.where(present[..., None], 8 * values.detach(), 0)
    torch.testing.assert_close(values.grad, expected)


def test_rows_with_equal_masks_share_their_candidates():
    masks = torch.rand(5, 20, generator=torch.Generator().manual_seed(0)) < 0.3
    masks = masks[[0, 1, 0, 2, 1, 3, 4, 4]]
    candidates = Candidates.of(masks)
    assert len(candidates.sets) == 5
    for row, own in enumerate(candidates.own):
        there = candidates.sets[own][candidates.of_sets.present[own]]
        assert there.tolist() == masks[row].nonzero().flatten().tolist()
    assert candidates.places.tolist() == masks.flatten().nonzero().flatten().tolist()
