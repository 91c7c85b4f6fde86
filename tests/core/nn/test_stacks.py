import copy

import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.frozen import FrozenLinear
from mtl_gym.core.nn.fused_adam import FusedAdam
from mtl_gym.core.nn.stacks import BlockStack, gathering

BLOCKS = {
    "linear": lambda: nn.Linear(16, 12),
    "linear of two columns": lambda: nn.Linear(12, 2),
    "perceptron": lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5)),
    "small perceptron": lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
    "frozen": lambda: FrozenLinear(torch.randn(4, 16)),
}
ROUTES = {
    "even": lambda random, rows, blocks: np.arange(rows) % blocks,
    "random": lambda random, rows, blocks: random.integers(blocks, size=rows),
    "mostly one": lambda random, rows, blocks: np.where(
        random.random(rows) < 0.9, 1, random.integers(blocks, size=rows)
    ),
    "one": lambda random, rows, blocks: np.full(rows, 2),
}


def gradients(blocks):
    return [None if p.grad is None else p.grad.clone() for block in blocks for p in block.parameters()]


def inputs_of(block):
    first = block[0] if isinstance(block, nn.Sequential) else block
    return first.weight.shape[1]


def one_by_one(blocks, x, choices):
    """Each block on its rows, in their order."""
    parts = {block: np.flatnonzero(choices == block) for block in np.unique(choices)}
    y = torch.cat([blocks[block](x[torch.from_numpy(rows)]) for block, rows in parts.items()])
    return y[torch.from_numpy(np.argsort(np.concatenate(list(parts.values()))))]


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("routes", ROUTES)
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_runs_side_by_side_give_the_bits_of_each_run_alone(kind, routes, rows):
    torch.manual_seed(0)
    random = np.random.default_rng(rows)
    blocks = [BLOCKS[kind]() for _ in range(20)]
    choices = [ROUTES[routes](random, rows, 4) for _ in range(5)]
    x, towards = torch.randn(5 * rows, inputs_of(blocks[0])), None
    together = BlockStack(blocks)(x, Dispatch.of(np.concatenate([c + 4 * run for run, c in enumerate(choices)])), 5)
    towards = torch.randn_like(together)
    if together.requires_grad:
        together.backward(towards)
    of_all = gradients(blocks)
    for run, chosen in enumerate(choices):
        own = copy.deepcopy(blocks[4 * run : 4 * run + 4])
        for block in own:
            block.zero_grad()
        part = slice(run * rows, (run + 1) * rows)
        alone = BlockStack(own)(x[part], Dispatch.of(chosen), 1)
        assert torch.equal(alone, together[part])
        if alone.requires_grad:
            alone.backward(towards[part])
            each = len(of_all) // 5
            for mine, theirs in zip(gradients(own), of_all[run * each : (run + 1) * each], strict=True):
                assert (mine is None) == (theirs is None)
                assert mine is None or torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", ["perceptron", "small perceptron", "frozen"])
@pytest.mark.parametrize("routes", ROUTES)
def test_a_stack_gives_the_bits_of_its_modules(kind, routes):
    torch.manual_seed(0)
    blocks = [BLOCKS[kind]() for _ in range(6)]
    for rows in (5, 40, 300):
        choices = ROUTES[routes](np.random.default_rng(rows), rows, 6)
        x = torch.randn(rows, inputs_of(blocks[0]))
        assert torch.equal(BlockStack(blocks)(x, Dispatch.of(choices), 1), one_by_one(blocks, x, choices))


def test_other_structures_do_not_fit():
    assert not BlockStack.fits([nn.Linear(3, 2), nn.Linear(3, 2, bias=False)])
    assert not BlockStack.fits([nn.Sequential(nn.Linear(3, 2), nn.Dropout()) for _ in range(2)])
    assert not BlockStack.fits([nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(slope)) for slope in (0.1, 0.2)])
    assert not BlockStack.fits([nn.Identity(), nn.Identity()])
    assert not BlockStack.fits([nn.Linear(3, 2), nn.Linear(3, 2).double()])


def test_blocks_with_hooks_do_not_fit():
    assert not BlockStack.fits([nn.utils.spectral_norm(nn.Linear(3, 2)) for _ in range(2)])
    outer = [nn.Sequential(nn.Linear(3, 2), nn.ReLU()) for _ in range(2)]
    outer[1].register_forward_hook(lambda *_: None)
    assert not BlockStack.fits(outer)
    with pytest.raises(ValueError, match="equal shapes"):
        BlockStack([nn.Linear(3, 2), nn.Linear(2, 2)])


def test_one_stack_is_given_up_when_routes_collapse():
    assert BlockStack.pays(np.full(20, 51))
    assert not BlockStack.pays(np.array([930, *[5] * 19]))


@pytest.mark.parametrize("kind", ["linear", "perceptron"])
def test_a_fused_stack_trains_as_torch_does_and_stays_so_in_a_copy(kind):
    torch.manual_seed(0)
    plain = [BLOCKS[kind]() for _ in range(6)]
    fused = copy.deepcopy(plain)
    stack, bare = BlockStack(fused), BlockStack(plain)
    stack.fuse()
    mine = FusedAdam([p for block in fused for p in block.parameters()], 0.01, [stack])
    theirs = torch.optim.Adam([p for block in plain for p in block.parameters()], 0.01, fused=True)
    random = np.random.default_rng(0)
    for step in range(12):
        choices = random.integers(6 if step % 3 else 3, size=15)
        x = torch.randn(15, 16)
        for one, optimizer in ((stack, mine), (bare, theirs)):
            with gathering(one):
                loss = (one(x, Dispatch.of(choices), 1) ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if step == 5:
            saved = copy.deepcopy(mine.state_dict())
    for one, other in zip(fused, plain, strict=True):
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(p, q)
            assert mine.state[p].keys() == theirs.state[q].keys()
            assert all(torch.equal(mine.state[p][name], theirs.state[q][name]) for name in mine.state[p])
    mine.load_state_dict(saved)
    assert all(torch.equal(a["exp_avg"], saved["state"][i]["exp_avg"]) for i, a in mine.state_dict()["state"].items())
    twin = copy.deepcopy(stack)
    assert not twin.leaves and twin.blocks[0] is not stack.blocks[0]


@pytest.mark.parametrize("kind", ["linear", "perceptron"])
def test_hooks_on_blocks_of_a_fused_stack_are_called_and_the_blocks_train_on(kind):
    torch.manual_seed(0)
    plain = [BLOCKS[kind]() for _ in range(4)]
    hooked = copy.deepcopy(plain)
    pairs = []
    for blocks in (plain, hooked):
        stack = BlockStack(blocks)
        stack.fuse()
        pairs.append((stack, FusedAdam([p for block in blocks for p in block.parameters()], 0.01, [stack])))
    seen = []
    hooked[1].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    last = next(part for part in reversed(list(hooked[2].modules())) if isinstance(part, nn.Linear))
    last.register_full_backward_hook(lambda module, *_: seen.append("backward"))
    x, choices = torch.randn(12, 16, requires_grad=True), np.arange(12) % 3
    for _ in range(3):
        for stack, optimizer in pairs:
            with gathering(stack):
                loss = (stack(x, Dispatch.of(choices), 1) ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert seen == 3 * [4, "backward"]
    for one, other in zip(plain, hooked, strict=True):
        assert all(map(torch.allclose, one.parameters(), other.parameters()))
    assert all(torch.equal(p, q) for p, q in zip(plain[3].parameters(), hooked[3].parameters(), strict=True))


def test_a_copy_of_a_stack_whose_blocks_got_hooks_is_none():
    stack = BlockStack([nn.Linear(3, 2) for _ in range(2)])
    stack.blocks[0].register_forward_hook(lambda *_: None)
    assert copy.deepcopy(stack) is None
