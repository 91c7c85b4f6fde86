import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.families.routing.network import RoutedLayer

ROUTES = {
    "even": lambda rows, blocks: np.arange(rows) % blocks,
    "skewed": lambda rows, blocks: np.minimum(np.random.default_rng(0).geometric(0.5, rows) - 1, blocks - 1),
    "mostly one": lambda rows, blocks: np.where(np.arange(rows) % 10 == 3, np.arange(rows) % blocks, 1 % blocks),
    "single block": lambda rows, blocks: np.full(rows, 1 % blocks),
}


def linear_layer(blocks, activation=None):
    return RoutedLayer([nn.Linear(6, 5) for _ in range(blocks)], activation=activation)


def convolutional_layer(blocks, activation=None):
    return RoutedLayer([nn.Conv2d(2, 3, 3, padding=1) for _ in range(blocks)], in_shape=(2, 4, 4))


def mixed_layer(blocks, activation=None):
    deep = [nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 5)) for _ in range(blocks - 1)]
    return RoutedLayer([nn.Linear(6, 5), *deep], in_shape=(6,))


def one_by_one(layer, x, choices):
    """Algorithm 1 to the letter: every sample alone through its block."""
    outputs = []
    for sample, choice in zip(x, choices, strict=True):
        y = sample if choice == len(layer.blocks) else layer.blocks[choice](sample[None])[0]
        outputs.append(y if layer.activation is None or choice == len(layer.blocks) else layer.activation(y))
    return torch.stack(outputs)


def gradients(layer, output, x, weight):
    layer.zero_grad()
    (dx,) = torch.autograd.grad((output * weight).sum(), x, retain_graph=True)
    (output * weight).sum().backward()
    return dx, [None if p.grad is None else p.grad.clone() for p in layer.parameters()]


@pytest.mark.parametrize("make", [linear_layer, convolutional_layer, mixed_layer])
@pytest.mark.parametrize("routes", ROUTES)
@pytest.mark.parametrize("rows", [1, 7, 200])
@pytest.mark.parametrize("blocks", [2, 9])
def test_a_batch_gives_what_every_sample_gives_alone(make, routes, rows, blocks):
    torch.manual_seed(rows + blocks)
    layer = make(blocks)
    x = torch.randn(rows, *layer.in_shape, requires_grad=True)
    choices = ROUTES[routes](rows, blocks)
    weight = torch.randn(rows, *layer.out_shape) / rows  # a mean loss, as in training

    batched, alone = layer(x, choices), one_by_one(layer, x, choices)
    torch.testing.assert_close(batched, alone, atol=1e-5, rtol=1e-5)

    dx, dp = gradients(layer, batched, x, weight)
    dx_alone, dp_alone = gradients(layer, alone, x, weight)
    torch.testing.assert_close(dx, dx_alone, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(dp, dp_alone, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40),
    st.booleans(),
)
def test_rows_that_pass_keep_their_value_and_skip_the_activation(choices, with_activation):
    choices = np.array(choices)
    layer = RoutedLayer([nn.Linear(3, 3) for _ in range(4)], activation=nn.ReLU() if with_activation else None)
    x = torch.randn(len(choices), 3, requires_grad=True)
    torch.testing.assert_close(layer(x, choices), one_by_one(layer, x, choices), atol=1e-5, rtol=1e-5)
    assert torch.equal(layer(x, choices)[choices == 4], x[choices == 4])


def test_a_dispatch_sorts_rows_by_block():
    dispatch = Dispatch.of(np.array([2, 0, 2, 5]))
    assert dispatch.groups.tolist() == [0, 2, 5]
    assert dispatch.counts.tolist() == [1, 2, 1]
    assert dispatch.gathered.tolist() == [1, 0, 2, 3]
    assert dispatch.scattered.tolist() == [1, 0, 2, 3]
    assert dispatch.slots.tolist() == [2, 0, 3, 4]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.booleans())
@settings(max_examples=30, deadline=None)
def test_rows_spread_or_split_by_group_come_back(group, all_groups):
    group = np.array(group)
    dispatch = Dispatch.of(group, 5 if all_groups else None)
    rows = torch.randn(len(group), 2, 3)
    stack, parts = dispatch.spread(rows), dispatch.split(rows)
    assert torch.equal(dispatch.gather(stack), rows)
    assert torch.equal(dispatch.unsort(torch.cat(parts)), rows)
    assert len(dispatch.groups) == (5 if all_groups else len(set(group.tolist())))
    for place, number in enumerate(dispatch.groups):
        assert torch.equal(parts[place], rows[group == number])
        assert torch.equal(stack[place, : (group == number).sum()], rows[group == number])
        assert (stack[place, (group == number).sum() :] == 0).all()


def test_gradients_follow_rows_that_are_split():
    rows = torch.randn(4, 2, requires_grad=True)
    parts = Dispatch.of(np.array([1, 0, 1, 0])).split(rows)
    (gradient,) = torch.autograd.grad((parts[0] * 2).sum() + (parts[1] * 3).sum(), rows)
    assert gradient[:, 0].tolist() == [3, 2, 3, 2]
