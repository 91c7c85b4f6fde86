"""Gradient steps of joined parameters, and minibatches read together, against torch's and those read one by one."""

import copy

import numpy as np
import pytest
import torch
from mtl_agents import PaperQLS
from mtl_agents.scheduling.steps import Steps
from torch import nn

from tests.agents.schedules import rows

KINDS = [torch.optim.Adam, torch.optim.SGD, lambda ps, lr: torch.optim.Adam(ps, lr, weight_decay=0.1)]


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(7, 33), nn.ReLU(), nn.Linear(33, 5))


@pytest.mark.parametrize("kind", KINDS, ids=["adam", "sgd", "decayed"])
@pytest.mark.parametrize("most", [0.01, 10.0])
def test_steps_equal_those_of_torch_to_the_bit(kind, most):
    ours, theirs = network(), network()
    mine, torchs = kind(ours.parameters(), lr=0.1), kind(theirs.parameters(), lr=0.1)
    x = torch.randn(20, 16, 7, generator=torch.Generator().manual_seed(1))
    steps = Steps(mine, most)
    for place, batch in enumerate(x):
        if place in (5, 10):
            mine.load_state_dict(copy.deepcopy(mine.state_dict()))
        for group in (*mine.param_groups, *torchs.param_groups):
            group["lr"] = 0.1 / (1 + place)
        steps = steps if steps.fits else Steps(mine, most)
        steps.take(torch.autograd.grad(ours(batch).square().mean(), steps.parameters))
        torchs.zero_grad()
        theirs(batch).square().mean().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), most)
        torchs.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert torch.equal(ours(x[0]), theirs(x[0]))  # products depend on where weights stand in memory
    states = [list(optimizer.state.values()) for optimizer in (mine, torchs)]
    for a, b in zip(*states, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in b)


def test_minibatches_read_together_are_those_read_one_by_one():
    agent = PaperQLS(rows(4), seed=0, learning_starts=16, batch_size=8).learn(80)
    buffer, twin = agent.replay_buffer, copy.copy(agent.replay_buffer)
    twin.random = np.random.Generator(type(buffer.random.bit_generator)())
    twin.random.bit_generator.state = buffer.random.bit_generator.state
    for samples in buffer.samples(40, 8):
        for sample in samples:
            assert all(map(torch.equal, sample, twin.sample(8)))
