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


def test_all_places_are_filled_in_order():
    filled, written, module, copies = StackedModule(network(), (2, 3)), StackedModule(network(), (2, 3)), network(), []
    for place in [(run, task) for run in range(2) for task in range(3)]:
        module[0].reset_parameters()  # in place, as weights of runs are drawn
        copies.append(filled.weights_of(module))
        written.write(place, module)
    filled.fill(copies)
    assert all(
        torch.equal(mine, theirs) for mine, theirs in zip(filled.parameters(), written.parameters(), strict=True)
    )


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


def test_a_layer_that_stands_in_two_places_runs_in_both():
    linear, tanh = nn.Linear(3, 3), nn.Tanh()
    module, x = nn.Sequential(linear, tanh, nn.Sequential(linear, tanh), nn.Linear(3, 2), tanh), torch.randn(2, 5, 3)
    stack = StackedModule(module, (2,))
    stack.write((0,), module)
    stack.write((1,), module)
    for output, part in zip(stack.run_all(stack.named(), x), x, strict=True):
        torch.testing.assert_close(output, module(part))


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


class Custom(nn.Module):
    """Layers that only `torch.func.vmap` can stack."""

    alike_alone = True

    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(9, 3), nn.Linear(6, 4)

    def forward(self, x):
        return self.linear(self.embedding(x.long()).flatten(1)).tanh()


def filled(template, copies):
    stack = StackedModule(template, (copies,))
    with torch.no_grad():
        for p in stack.parameters():
            p.copy_(torch.randn_like(p))
    return stack


@pytest.mark.parametrize("template", [network(), nn.Sequential(nn.Linear(3, 600), nn.Linear(600, 2)), Custom()])
@pytest.mark.parametrize("shared", [False, True])
def test_outputs_and_gradients_equal_those_of_vmap_to_the_bit_for_any_number_of_copies(template, shared):
    stack, x = filled(template, 3), torch.rand(5, 3) if shared else torch.rand(3, 5, 3)
    x = 9 * x[..., :2] if isinstance(template, Custom) else x
    expected = vmap(stack.call, in_dims=(0, None if shared else 0))(stack.named(), x)
    gradients = torch.autograd.grad(expected.square().sum(), list(stack.named().values()))
    for copies in slice(0, 3), slice(1, 2):
        own = {name: value.detach()[copies].requires_grad_() for name, value in stack.named().items()}
        keys = torch.zeros(copies.stop - copies.start, dtype=torch.int64)
        found = stack.run_all(own, x if shared else x[copies], shared=shared, keys=keys)
        assert torch.equal(found, expected[copies])
        for mine, theirs in zip(torch.autograd.grad(found.square().sum(), list(own.values())), gradients, strict=True):
            assert torch.equal(mine, theirs[copies])


def test_layers_that_do_not_differ_between_copies_run_without_keys():
    assert StackedModule(network(), (2,)).is_plain({"0.weight", "0.bias", "2.weight", "2.bias"})
    assert not StackedModule(network(), (2,)).is_plain({"0.weight", "0.bias"})
    for other in (
        nn.Sequential(nn.Linear(3, 2), nn.Dropout()),
        nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)),
        Custom(),
    ):
        names = {name for name, _ in other.named_parameters()}
        assert not StackedModule(other, (2,)).is_plain(names)
    hooked = nn.Linear(3, 2)
    hooked.register_forward_hook(lambda module, inputs, output: 2 * output)
    stack = filled(hooked, 2)
    assert not stack.is_plain({"weight", "bias"})
    one = stack.run_all(at({name: p[None] for name, p in stack.named().items()}, 0), torch.ones(2, 1, 3))
    assert torch.equal(one[1], stack.call(at(stack.named(), 1), torch.ones(1, 3)))


def test_frozen_layers_are_shared_by_all_copies():
    template = network()
    template[0].requires_grad_(False)
    stack, x = filled(template, 2), torch.randn(2, 5, 3)
    for copies in 1, 2:
        own = {name: value[:copies] for name, value in stack.named().items()}
        found = stack.run_all(own, x[:copies])
        assert torch.allclose(found[0], stack.call(at(stack.named(), 0), x[0]), atol=1e-6)
