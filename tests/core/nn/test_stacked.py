import pytest
import torch
from torch import nn
from torch.func import vmap

from mtl_gym.core.nn.stacked import StackedModule, at


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_copies_give_what_each_gives_alone():
    stack, modules, x = StackedModule(network(), (2, 3)), {}, torch.randn(2, 3, 5, 3)
    for place in [(run, task) for run in range(2) for task in range(3)]:
        modules[place] = network()
        stack.write(place, modules[place])
    outputs = vmap(vmap(stack.call))(stack.named(), x)
    for place, module in modules.items():
        torch.testing.assert_close(outputs[place], module(x[place]))
        alone = stack.single({name: value[place] for name, value in stack.named().items()})
        assert torch.equal(alone(x[place]), module(x[place]))


def test_only_trained_or_named_parameters_are_stacked():
    template = network()
    template[0].requires_grad_(False)
    stack = StackedModule(template, (2,))
    assert stack.names == ["2.weight", "2.bias"] and len(list(stack.parameters())) == 2
    assert StackedModule(template, (2,), names=["0.bias", "2.bias"]).names == ["2.bias"]
    x = torch.randn(5, 3)
    stack.write((1,), template)
    assert torch.equal(stack.call(at(stack.named(), 1), x), template(x))


def test_a_weight_that_stands_in_two_places_is_used_in_both():
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 2, bias=False))
    tied[2].weight = tied[0].weight
    stack, x = StackedModule(tied, (1,)), torch.randn(4, 2)
    assert stack.names == ["0.weight"]
    doubled = {name: 2 * p.detach() for name, p in tied.named_parameters()}
    expected = (x @ doubled["0.weight"].T).tanh() @ doubled["0.weight"].T
    torch.testing.assert_close(stack.call(doubled, x), expected)
    torch.testing.assert_close(stack.call(at(stack.named(), 0), x), torch.zeros(4, 2))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_reaches_what_runs(training):
    stack = StackedModule(nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5)), (1,)).train(training)
    with torch.no_grad():
        for p in stack.parameters():
            p.fill_(1)
    assert (stack.call(at(stack.named(), 0), torch.ones(1, 3)) == 0).any() == training


def test_parameters_that_are_not_stacked_move_with_it():
    template = network()
    template[0].requires_grad_(False)
    stack = StackedModule(template, (1,)).double()
    assert stack.call(at(stack.named(), 0), torch.ones(1, 3).double()).dtype == torch.float64
