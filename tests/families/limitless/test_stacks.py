"""Modules that are built alike and run together give what each gives alone, gradients included."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.core.nn.frozen import FrozenLinear
from mtl_gym.data import load
from mtl_gym.families.limitless import LimitlessVectorEnv, ModulePool, PoolModule
from mtl_gym.families.limitless.modules import paper_pool
from mtl_gym.families.limitless.stacks import OneByOne, Segments, Stack, build_of


class Doubling(nn.Module):
    """Layer of a class that stacks do not know."""

    def forward(self, x):
        return 2 * x


BODIES = {
    "linear": (lambda: nn.Linear(6, 3), (6,)),
    "linear without bias": (lambda: nn.Linear(6, 3, bias=False), (6,)),
    "linear of the last axis": (lambda: nn.Linear(6, 3), (2, 5, 6)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 8, 8)),
    "convolution with reflection": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 5, 5)),
    "layer norm of maps": (lambda: nn.LayerNorm((3, 4, 4)), (3, 4, 4)),
    "layer norm of the last axis": (lambda: nn.LayerNorm(4), (3, 4)),
    "unknown layers": (lambda: nn.Sequential(nn.Linear(4, 4), Doubling(), nn.PReLU()), (4,)),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(8, 4)), nn.LayerNorm(4), nn.ReLU()), (2, 4)),
}


def segmented(counts, members):
    return Segments(np.array(members), np.array(counts), torch.device("cpu"))


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("counts", [[2, 1, 3], [90, 1, 12]], ids=["few rows", "many rows"])
def test_a_stack_equals_its_modules_one_by_one(name, counts):
    torch.manual_seed(0)
    make, shape = BODIES[name]
    bodies = [make() for _ in range(4)]
    for parameter in [p for body in bodies for p in body.parameters()]:
        nn.init.normal_(parameter)
    used, x = [0, 1, 3], torch.randn(sum(counts), *shape, requires_grad=True)
    together = Stack(bodies)(x, segmented(counts, used))
    alone = torch.cat([bodies[number](part) for number, part in zip(used, x.split(counts), strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    gradients = []
    for outputs in (together, alone):
        for parameter in [x, *(p for body in bodies for p in body.parameters())]:
            parameter.grad = None
        outputs.square().sum().backward()
        gradients.append([x.grad.clone(), *(p.grad.clone() for n in used for p in bodies[n].parameters())])
        assert all(p.grad is None for p in bodies[2].parameters())
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-4)


def test_the_modules_of_the_paper_need_no_loop_over_layers_of_unknown_classes():
    pool = paper_pool((1, 4, 4), classes=2, duplicates=2, filters=2, hidden=4)
    columns = [column for number in range(6) for column in pool.stacks[number].columns]
    assert not any(type(column) is OneByOne for column in columns)
    assert pool.stacks.of.tolist() == [0, 1, 2, 3, 4, 5] * 2 and pool.stacks.member.tolist() == [0] * 6 + [1] * 6


def test_frozen_modules_have_no_gradient():
    bodies = [FrozenLinear(torch.full((2, 3), float(value))) for value in (1, 2)]
    x = torch.ones(3, 3, requires_grad=True)
    y = Stack(bodies)(x, segmented([2, 1], [0, 1]))
    assert y.tolist() == [[3, 3], [3, 3], [6, 6]]
    y.sum().backward()
    assert x.grad.tolist() == [[2] * 3, [2] * 3, [4] * 3]


def test_modules_of_one_build_have_equal_settings_and_shapes():
    assert build_of(nn.Conv2d(2, 2, 3)) == build_of(nn.Sequential(nn.Conv2d(2, 2, 3)))
    for other in (nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1), nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU())):
        assert build_of(nn.Conv2d(2, 2, 3)) != build_of(other)


def test_gradients_reuse_memory_that_nothing_holds():
    layer, x = nn.Linear(3, 2), torch.randn(12, 3)
    stack, places = Stack([layer]), []
    for _ in range(3):
        layer.weight.grad = None
        stack(x, segmented([12], [0])).sum().backward()
        places.append(layer.weight.grad.data_ptr())
    assert places[1] == places[2]


def test_gradients_that_are_held_are_not_overwritten():
    layer, segments = nn.Linear(3, 3), segmented([12], [0])
    stack, x, other = Stack([layer]), torch.randn(12, 3), torch.randn(12, 3)
    held = torch.autograd.grad(stack(x, segments).square().sum(), layer.weight)[0]
    before = held.clone()
    torch.autograd.grad(stack(other, segments).square().sum(), layer.weight)
    assert torch.equal(held, before)
    twin = copy.deepcopy(layer)
    for module, run in ((layer, lambda x: stack(x, segments)), (twin, twin)):
        run(run(x)).square().sum().backward()  # two uses in one graph
        run(other).square().sum().backward()  # added to what is there
        gradient = module.weight.grad
        torch.testing.assert_close(gradient, layer.weight.grad, atol=1e-4, rtol=1e-4)


def test_layers_with_hooks_are_called():
    bodies = [nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 3)), nn.ReLU()) for _ in range(2)]
    assert build_of(bodies[0]) != build_of(bodies[1])
    for body in bodies:
        Stack([body])(torch.randn(5, 4), segmented([5], [0])).sum().backward()
        assert body[0].weight_orig.grad is not None


def test_hooks_that_a_pool_gets_later_are_called():
    env = LimitlessVectorEnv(num_envs=4, data="digits", image_shape=(1, 8, 8), train_batch=4)
    env.reset(seed=0)
    seen = []

    def play():
        for _ in range(6):
            env.step(env.action_masks().argmax(1))
        seen.clear()
        for _ in range(3):
            env.step(env.action_masks().argmax(1))

    play()
    module = env.network[int(env.action_masks().argmax(1)[0])]
    for part in (module, module.body):
        part.register_forward_hook(lambda module, *_: seen.append(type(module)))
    play()
    assert set(seen) == {PoolModule, type(module.body)}


def test_pools_with_other_settings_are_not_built_alike():
    assert build_of(nn.AvgPool2d(3, padding=1)) == build_of(nn.AvgPool2d(3, padding=1))
    assert build_of(nn.AvgPool2d(3, padding=1)) != build_of(nn.AvgPool2d(3, padding=1, count_include_pad=False))


def test_a_pool_whose_training_is_switched_on_later_trains():
    shape = load("digits").input_shape
    body = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 10))
    pool = ModulePool([PoolModule(body, shape, head=True)], shape).requires_grad_(False)
    env = LimitlessVectorEnv(num_envs=4, data="digits", network=pool, train_batch=4, max_depth=1)
    env.reset(seed=0)
    env.step(np.zeros(4, int))
    assert env.updates == 0
    env.network.requires_grad_(True)
    env.step(np.zeros(4, int))
    assert env.updates == 1
