"""Parts of the router: packing and candidates."""

import torch
from mtl_agents.limitless.candidates import Candidates, Padding

from mtl_gym.core.nn.products import rounded


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
