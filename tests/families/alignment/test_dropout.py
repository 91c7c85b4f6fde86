"""Dropout masks in training: they depend on the seed of a run, the number of the update and the network alone."""

import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.data import SPLITS, TaskCollection, TaskData
from mtl_gym.families.alignment.awd_lstm import AWDLSTM
from mtl_gym.families.alignment.env import AlignmentVectorEnv

SHORT = {"generations": 3, "iterations": 4, "final_generations": 2, "block": (4, 4), "context": 4, "device": "cpu"}
TOKENS = torch.arange(48).view(12, 4) % 16


class Recurrent(nn.Module):
    """Dropout inside an LSTM's kernel."""

    def __init__(self):
        super().__init__()
        self.words, self.lstm, self.last = nn.Embedding(16, 3), nn.LSTM(3, 8, 2, dropout=0.5), nn.Linear(8, 16)

    def forward(self, tokens):
        return self.last(self.lstm(self.words(tokens))[0])


class Attention(nn.Module):
    """Dropout inside an attention kernel."""

    def __init__(self):
        super().__init__()
        self.words, self.attention = nn.Embedding(16, 8), nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
        self.last = nn.Linear(8, 16)

    def forward(self, tokens):
        x = self.words(tokens)
        return self.last(self.attention(x, x, x, need_weights=False)[0])


class Noise(nn.Module):
    """Noise from torch's generator."""

    def forward(self, x):
        return x + torch.rand_like(x) if self.training else x


def awd_lstm():
    return AWDLSTM(16, 4, 8, spread=1)


def dropout():
    return nn.Sequential(nn.Embedding(16, 8), nn.Dropout(0.5), nn.Linear(8, 16))


def noise():
    return nn.Sequential(nn.Embedding(16, 8), Noise(), nn.Linear(8, 16))


def make(runs, network, tasks=1, **options):
    """Make an environment whose tasks have equal samples."""
    torch.manual_seed(0)
    data = [TaskData(f"{n}", "classification", dict.fromkeys(SPLITS, (TOKENS, TOKENS)), 16) for n in range(tasks)]
    nets = [network() for _ in range(tasks)]
    return AlignmentVectorEnv(runs, data=TaskCollection("words", data), network=nets, **SHORT | options)


def losses(seeds, network, update=0):
    """Return losses of two tasks from equal weights, which differ by masks only; float32 [runs, tasks]."""
    env = make(len(seeds), network, tasks=2)
    env.reset(seed=0)
    env.training.begin(seeds, update)
    with torch.no_grad():
        weights = env.network.weights()
        equal = [{name: weights[0][name][:1].expand_as(value) for name, value in own.items()} for own in weights]
        return env.training._losses(equal)


@pytest.mark.parametrize("network", [dropout, awd_lstm, Recurrent, Attention, noise])
def test_masks_depend_on_seed_update_and_network_but_not_on_other_runs(network):
    found = losses([7, 8, 7], network)
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found[1:2], losses([8], network))
    values = [*found[:2].flatten(), *losses([7], network, update=1).flatten()]
    assert len({round(value.item(), 4) for value in values}) == 6


def test_a_run_in_a_batch_equals_the_run_alone_to_the_bit():
    """Without challengers: torch adds the uses of one module in an order that depends on the number of runs.

    Sizes are multiples of 16, since Adam rounds the numbers beyond the last full vector in another way.
    """
    wide, alone = both = [make(runs, awd_lstm, minibatch=5) for runs in (3, 1)]
    wide.reset(seed=5), alone.reset(seed=5)
    for _ in range(2):
        alone.reset()  # its third run is the batch's third one
    assert alone.run_seeds[0] == wide.run_seeds[2]
    steps = [[env.step(np.full(env.action_space.shape, env.network.num_modules)) for _ in range(3)] for env in both]
    rewards = [[reward for _, reward, *_ in one] for one in steps]
    assert all(mine[2] == theirs[0] for mine, theirs in zip(*rewards, strict=True))
    first, second = (one[-1][-1] for one in steps)
    assert np.array_equal(first["final_info"]["loss"][2], second["final_info"]["loss"][0])
    weights, others = (env.shown.best.state for env in both)
    assert all(torch.equal(value[2], others[name][0]) for name, value in weights.items())


@pytest.mark.parametrize("network", [dropout, awd_lstm, Recurrent])
def test_a_resumed_run_and_a_fork_equal_an_undisturbed_run_to_the_bit(network, tmp_path):
    env, resumed = (make(2, network, minibatch=5) for _ in range(2))
    env.reset(seed=0)
    actions = env.assignment[:, ::-1].copy()
    env.step(actions)
    torch.save(env.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    three = env, env.fork(), resumed
    for _ in range(SHORT["generations"]):  # the last step belongs to the next runs
        first, *others = [one.step(actions)[-1]["train_loss"] for one in three]
        assert all(np.array_equal(first, other) for other in others)
    first, *others = [one.network.state_dict() for one in three]
    assert all(torch.equal(value, other[name]) for name, value in first.items() for other in others)
