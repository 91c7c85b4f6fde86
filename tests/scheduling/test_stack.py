"""Runs side by side are what they would be alone."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mtl_gym.scheduling.network import SharedNetwork
from mtl_gym.scheduling.stack import RunStack
from mtl_gym.weights import renewed


def alone(seed, template, tasks):
    """Encoder and heads of one run as plain modules, drawn as a run's are."""
    torch.manual_seed(seed)
    return renewed(template.encoder), [renewed(template.head) for _ in range(tasks)]


def plain_run(env, run, tasks):
    """The same training as a literal loop over one network, with torch's own Adam for each module."""
    encoder, heads = alone(int(env.run_seeds[run]), env.template, 3)
    adams = [torch.optim.Adam(m.parameters(), env.options.learning_rate) for m in (encoder, *heads)]
    draw = env.training.minibatches
    numbers = np.random.default_rng([int(env.run_seeds[run]), 0]).random((256, *draw.shape))
    train = env.data.splits["train"]
    for step, task in enumerate(tasks):
        rows = draw.rows[task, (numbers[step, 0] * draw.count[task]).astype(int)]
        logits = heads[task](encoder(train.x[rows]))[:, : env.data.num_classes[task]]
        cross_entropy(logits, train.y[rows]).backward()
        for adam in (adams[0], adams[1 + task]):
            adam.step()
        for adam in adams:
            adam.zero_grad()
    return encoder, heads


def test_stacked_runs_equal_plain_loops_over_single_networks(make):
    env = make(num_envs=3)
    tasks = np.random.default_rng(1).integers(0, 3, (50, 3))
    for actions in tasks:
        env.step(actions)
    for run in range(3):
        encoder, heads = plain_run(env, run, tasks[:, run])
        mine, my_heads = env.network.single(run)
        for theirs, ours in zip([encoder, *heads], [mine, *my_heads], strict=True):
            for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
                assert torch.allclose(p, q, atol=1e-5), (run, (p - q).abs().max())


def test_a_run_is_the_same_alone_and_beside_others(make):
    """Row 0 of three has the seed of the only row of one."""
    wide, narrow = make(num_envs=3), make(num_envs=1)
    wide.training.begin([5, 6, 7]), narrow.training.begin([5])
    rng = np.random.default_rng(0)
    for _ in range(50):
        actions = rng.integers(0, 3, 3)
        obs, *_ = wide.step(actions)
        other, *_ = narrow.step(actions[:1])
    assert np.allclose(obs[0], other[0], atol=1e-5)
    for p, q in zip(wide.network.parameters(), narrow.network.parameters(), strict=True):
        assert torch.allclose(p[0], q[0], atol=1e-5)


def test_heads_of_tasks_that_were_not_chosen_stay_as_they_are(make):
    env = make(num_envs=2)
    for _ in range(5):
        env.step(np.array([0, 1]))  # momentum for heads that must not move afterwards
    before = [p.detach().clone() for p in env.network.head_parameters]
    state = [{k: v.clone() for k, v in env.optimizer.heads.state[p].items()} for p in env.network.head_parameters]
    env.step(np.array([2, 1]))
    for old, p, kept in zip(before, env.network.head_parameters, state, strict=True):
        for run, chosen in ((0, 2), (1, 1)):
            for task in range(3):
                same = torch.equal(old[run, task], p[run, task])
                assert same == (task != chosen), (run, task)
                for name, value in kept.items():
                    now = env.optimizer.heads.state[p][name]
                    assert torch.equal(value[run, task], now[run, task]) == (task != chosen), name


def test_every_head_and_run_begins_with_weights_of_its_own(make):
    weight = make(num_envs=3).network.head_parameters[0]
    flat = weight.detach().reshape(9, -1)
    assert len({tuple(row.tolist()) for row in flat}) == 9


def test_weights_that_are_not_trained_are_shared_and_stay(make):
    frozen = nn.Linear(5, 6)
    for p in frozen.parameters():
        p.requires_grad_(False)
    template = SharedNetwork(nn.Sequential(frozen, nn.Tanh(), nn.Linear(6, 8), nn.Tanh()), nn.Linear(8, 4))
    env = make(num_envs=2, network=template)
    assert [tuple(p.shape) for p in env.network.encoder_parameters] == [(2, 8, 6), (2, 8)]
    before = frozen.weight.clone()
    for _ in range(3):
        env.step(np.array([0, 1]))
    encoder, _ = env.network.single(1)
    assert torch.equal(frozen.weight, before) and torch.equal(encoder[0].weight, before)


def test_dropout_trains_and_is_off_where_runs_are_measured(make):
    template = SharedNetwork(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5)), nn.Linear(8, 4))
    env = make(num_envs=2, network=template)
    stack, x = env.network, torch.ones(2, 1, 6, 5)
    task = torch.zeros(2, 1, dtype=torch.int64)
    first, second = stack.run(x, task, seed=1), stack.run(x, task, seed=2)
    assert not torch.equal(first, second) and torch.equal(first, stack.run(x, task, seed=1))
    state = torch.get_rng_state()
    assert torch.equal(env._held_out.figures(stack).loss, env._held_out.figures(stack).loss)
    env.step(np.array([0, 1]))
    assert torch.equal(state, torch.get_rng_state())


def test_features_are_the_encoders_outputs():
    template = SharedNetwork(nn.Linear(5, 8), nn.Linear(8, 4))
    stack = RunStack(template, 3, 2, torch.device("cpu"))
    stack.renew([3, 4])
    x = torch.randn(6, 5)
    encoder, _ = alone(4, template, 3)
    assert torch.allclose(stack.features(x)[1], encoder(x), atol=1e-6)
