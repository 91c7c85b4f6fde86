"""TorchJD's aggregators in the environment, and called by hand on a plain network."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mtl_gym.families.scheduling.minibatches import Minibatches
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.integrations.torchjd import aggregator

OPTIONS = {"updates": 20, "reference": None, "validation_samples": 20, "minibatch": 8, "control": "weights"}
WEIGHTS = np.linspace(0.1, 1.0, 10, dtype=np.float32)


def make(name, num_envs=2):
    encoder = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 6), nn.Tanh())
    network = SharedNetwork(encoder, nn.Linear(6, 2))
    env = make_vec_env("MTLScheduling-Digits-v0", num_envs, 3, network=network, aggregator=name, **OPTIONS).batched
    env.reset(seed=3)
    return env


def losses_by_hand(env, run, encoder, heads):
    """Of the first minibatch of every task in a run; weighted, [tasks]."""
    draws = Minibatches(env.data, "train", 10, 8)
    draws.begin(env.run_seeds.tolist())
    rows = torch.from_numpy(draws.take(np.tile(np.arange(10), (env.num_envs, 1)))[run])
    features = encoder(env.data.inputs("train", rows.flatten())).unflatten(0, rows.shape)
    label = env.data.split("train").y[rows]
    losses = [cross_entropy(head(own), y) for head, own, y in zip(heads, features, label, strict=True)]
    return torch.stack(losses) * torch.from_numpy(WEIGHTS) / 10


@pytest.mark.parametrize("name", ["UPGrad", "mgda", "alignedmtl"])
def test_a_step_is_the_one_that_torchjd_makes_of_a_plain_network(name):
    pytest.importorskip("torchjd")
    env = make(name)
    encoder, heads = env.network.single(1)
    losses, shared = losses_by_hand(env, 1, encoder, heads), list(encoder.parameters())
    each = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses]
    joined = aggregator(name)(torch.stack([torch.cat([part.flatten() for part in own]) for own in each]))
    assert not torch.allclose(
        joined, torch.cat([p.flatten() for p in torch.autograd.grad(losses.sum(), shared, retain_graph=True)])
    )
    own = [p for head in heads for p in head.parameters()]
    gradients = [*joined.split([p.numel() for p in shared]), *torch.autograd.grad(losses.sum(), own)]
    for p, gradient in zip([*shared, *own], gradients, strict=True):
        p.grad = gradient.view_as(p).clone()
    torch.optim.Adam([*shared, *own], 1e-3).step()
    env.step(np.tile(WEIGHTS, (2, 1)))
    after_encoder, after_heads = env.network.single(1)
    after = [*after_encoder.parameters(), *(p for head in after_heads for p in head.parameters())]
    for mine, theirs in zip([*shared, *own], after, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["upgrad", "mgda", "pcgrad", "cagrad", "imtlg", "alignedmtl"])
def test_every_aggregator_trains_runs_side_by_side(name):
    pytest.importorskip("torchjd")
    env = make(name)
    first = [p.detach().clone() for p in env.network.parameters()]
    for _ in range(3):
        env.step(np.tile(WEIGHTS, (2, 1)))
    assert all((p != q).any() and p.isfinite().all() for p, q in zip(env.network.parameters(), first, strict=True))


def test_an_unknown_aggregator_is_named_with_the_nearest_one():
    pytest.importorskip("torchjd")
    with pytest.raises(ValueError, match=r"aggregator='upgard' is unknown. Did you mean 'upgrad'\?"):
        make("upgard")
