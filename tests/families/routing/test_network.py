import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.families.routing.blocks import SimpleConvNet, simple_routed_network
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork


def test_default_network_has_sizes_of_the_paper():
    network = simple_routed_network((3, 32, 32), blocks=20, classes=5)
    assert [layer.in_shape for layer in network.layers] == [(128,), (128,), (128,)]
    assert [layer.out_shape for layer in network.layers] == [(128,), (128,), (5,)]
    assert [len(layer.blocks) for layer in network.layers] == [20, 20, 20]
    assert sum(p.numel() for p in network.trunk.parameters()) == 3 * 9 * 32 + 3 * 32 * 9 * 32 + 4 * 3 * 32


@pytest.mark.parametrize(("shape", "features"), [((1, 28, 28), 32), ((3, 32, 32), 128), ((3, 84, 84), 800)])
def test_trunk_halves_image_four_times(shape, features):
    assert SimpleConvNet(shape[0])(torch.zeros(2, *shape)).shape == (2, features)


def test_pass_is_masked_where_width_changes_and_at_last_depth():
    cifar, mnist = simple_routed_network((3, 32, 32), 2, 5), simple_routed_network((1, 28, 28), 2, 2)
    assert cifar.masks()[:, -1].tolist() == [True, True, False]
    assert mnist.masks()[:, -1].tolist() == [False, True, False]


def test_layers_support_different_numbers_of_blocks():
    layers = [RoutedLayer([nn.Linear(4, 4) for _ in range(3)]), RoutedLayer([nn.Linear(4, 2)])]
    network = RoutedNetwork(None, layers, (4,))
    assert network.masks().astype(int).tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    x = torch.randn(2, 4)
    logits = network(x, np.array([[1, 0], [3, 0]]))
    expected = network.layers[1].blocks[0](torch.stack([network.layers[0].blocks[1](x[0]), x[1]]))
    torch.testing.assert_close(logits, expected)


def test_without_layering_depth_uses_all_blocks_of_equal_shape():
    network = simple_routed_network((3, 32, 32), 20, 5, layering=False)
    assert [len(layer.blocks) for layer in network.layers] == [40, 40, 20]
    taken = np.zeros((3, 40), bool)
    taken[:2, 7] = taken[0, 9] = taken[2, 0] = True
    assert network.blocks_used(taken) == 3  # the first two depths share block 7
    assert network.layers[0].blocks[7] is network.layers[1].blocks[7]
    mnist = simple_routed_network((1, 28, 28), 10, 2, layering=False)
    assert [len(layer.blocks) for layer in mnist.layers] == [10, 10, 10]  # 32 -> 128, 128 -> 128, 128 -> 2


def test_block_applied_twice_accumulates_both_gradients():
    network = simple_routed_network((8,), 2, 2, hidden=8, layering=False)
    block, head = network.layers[0].blocks[3], network.layers[2].blocks[1]
    x = torch.randn(5, 8)
    network(x, np.tile([3, 3, 1], (5, 1))).sum().backward()
    mine = block.weight.grad.clone()
    network.zero_grad()
    head(torch.relu(block(torch.relu(block(x))))).sum().backward()
    torch.testing.assert_close(mine, block.weight.grad, atol=1e-5, rtol=1e-5)


def test_renewed_network_keeps_shared_blocks():
    network = simple_routed_network((8,), 2, 2, hidden=8, layering=False).renewed()
    assert network.layers[0].blocks[3] is network.layers[1].blocks[3]


def test_convolutional_and_linear_layers_can_be_combined():
    convolutions = RoutedLayer([nn.Conv2d(1, 2, 3, padding=1) for _ in range(2)], in_shape=(1, 4, 4))
    heads = RoutedLayer([nn.Linear(32, 3) for _ in range(2)])
    network = RoutedNetwork(None, [convolutions, heads], (1, 4, 4))
    x = torch.randn(5, 1, 4, 4)
    routes = np.array([[0, 1], [1, 1], [1, 0], [0, 0], [1, 1]])
    alone = [
        heads.blocks[b](convolutions.blocks[a](one[None]).flatten(1))[0] for (a, b), one in zip(routes, x, strict=True)
    ]
    torch.testing.assert_close(network(x, routes), torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_renewed_network_has_fresh_weights_and_template_is_unchanged():
    template = simple_routed_network((8,), 2, 2, hidden=8)
    before = template.layers[0].blocks[0].weight.clone()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        first, again = template.renewed(), template.renewed()
    weights = [n.layers[0].blocks[0].weight for n in (template, first, again)]
    assert torch.equal(weights[0], before)
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RoutedLayer([]), "at least one block"),
        (lambda: RoutedLayer([nn.Linear(4, 4), nn.Linear(4, 3)]), r"block 1 .*\(3,\) and block 0 .*\(4,\)"),
        (lambda: RoutedLayer([nn.Linear(4, 4), nn.Linear(5, 4)]), r"block 1 .* does not take inputs of shape \(4,\)"),
        (lambda: RoutedLayer([nn.Sequential(nn.Linear(4, 4))]), "in_shape"),
        (
            lambda: RoutedLayer([nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))], in_shape=(4,)),
            r"Block 0 .* single row .* nn.LayerNorm",
        ),
        (lambda: RoutedNetwork(None, [], (4,)), "at least one routed layer"),
        (lambda: RoutedNetwork(None, [RoutedLayer([nn.Linear(4, 4)])], (5,)), r"Layer 0 takes \(4,\), but the trunk"),
        (
            lambda: RoutedNetwork(None, [RoutedLayer([nn.Linear(4, 4)]), RoutedLayer([nn.Linear(3, 2)])], (4,)),
            r"Layer 1 .*\(3,\).* layer 0 .*\(4,\)",
        ),
        (lambda: RoutedNetwork(nn.Linear(7, 4), [RoutedLayer([nn.Linear(4, 4)])], (4,)), "the trunk .* does not take"),
        (lambda: simple_routed_network((3, 4), 2, 2), r"\(3, 4\).* network="),
    ],
)
def test_incompatible_shapes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
