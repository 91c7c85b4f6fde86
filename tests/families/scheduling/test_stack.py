"""Stacked runs equal single runs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import cross_entropy

from mtl_gym.core.nn.weights import renewed
from mtl_gym.families.scheduling.lstm import LSTM
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.presets import review_network, tagging_network
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.text_mixture import WindowModel

CPU = torch.device("cpu")


def alone(seed, template, tasks):
    """Return encoder and heads as plain modules, with the weights of a run with that seed."""
    torch.manual_seed(seed)
    return renewed(template.encoder), [renewed(template.head) for _ in range(tasks)]


def plain_run(env, run, tasks):
    """Repeat the training of one run in a plain loop, with torch's Adam for each module."""
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


class Normed(nn.Module):
    """Encoder that is not a sequence of layers."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 8), nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(self.linear(x)).tanh()


@pytest.mark.parametrize("control", ["choice", "weights"])
@pytest.mark.parametrize("network", [None, SharedNetwork(Normed(), nn.Linear(8, 4))])
def test_a_run_is_bitwise_independent_of_the_runs_beside_it(make, control, network):
    """Row 0 of three has the seed of the only row of one."""
    options = {"control": control} | ({} if network is None else {"network": network})
    wide, narrow = (make(num_envs=runs, **options) for runs in (3, 1))
    wide.training.begin([5, 6, 7]), narrow.training.begin([5])
    rng = np.random.default_rng(0)
    for _ in range(50):
        actions = rng.integers(0, 3, 3) if control == "choice" else rng.integers(0, 2, (3, 3)).astype(np.float32)
        obs, reward, *_, info = wide.step(actions)
        other, earned, *_, told = narrow.step(actions[:1])
        assert np.array_equal(obs[0], other[0]) and reward[0] == earned[0]
        assert np.array_equal(info["gradient_norm"][0], told["gradient_norm"][0])
    for p, q in zip(wide.network.parameters(), narrow.network.parameters(), strict=True):
        assert torch.equal(p[0], q[0])


def test_heads_of_tasks_that_were_not_chosen_do_not_change(make):
    env = make(num_envs=2)
    for _ in range(5):
        env.step(np.array([0, 1]))  # momentum for heads that must not move afterwards
    before = [p.detach().clone() for p in env.network.head_parameters]
    state = [{k: v.clone() for k, v in env.optimizer.state[p].items()} for p in env.network.head_parameters]
    env.step(np.array([2, 1]))
    for old, p, kept in zip(before, env.network.head_parameters, state, strict=True):
        for run, chosen in ((0, 2), (1, 1)):
            for task in range(3):
                same = torch.equal(old[run, task], p[run, task])
                assert same == (task != chosen), (run, task)
                for name, value in kept.items():
                    now = env.optimizer.state[p][name]
                    assert torch.equal(value[run, task], now[run, task]) == (task != chosen), name


def test_every_head_and_run_begins_with_its_own_weights(make):
    weight = make(num_envs=3).network.head_parameters[0]
    flat = weight.detach().reshape(9, -1)
    assert len({tuple(row.tolist()) for row in flat}) == 9


def test_weights_without_gradient_are_shared_and_do_not_change(make):
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


def test_dropout_is_on_in_training_and_off_in_measurements(make):
    template = SharedNetwork(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5)), nn.Linear(8, 4))
    env = make(num_envs=2, network=template)
    stack, x = env.network, torch.ones(2, 1, 6, 5)
    heads, keys = stack.heads_at(stack.places(np.zeros((2, 1), np.int64))), np.array([1, 2])
    first, second = stack.run(x, heads, keys), stack.run(x, heads, keys + 1)
    assert not torch.equal(first, second) and torch.equal(first, stack.run(x, heads, keys))
    state = torch.get_rng_state()
    assert torch.equal(env._held_out.figures(stack).loss, env._held_out.figures(stack).loss)
    env.step(np.array([0, 1]))
    assert torch.equal(state, torch.get_rng_state())


class Mine(nn.Module):
    """Module that calls torch's dropout functions directly, on values and on channels."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = functional.dropout(self.first(x), 0.5, self.training)
        return functional.dropout1d(self.second(x).unflatten(1, (4, 2)), 0.5, self.training).flatten(1)


def with_dropout():
    return SharedNetwork(Mine(), nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)))


def test_with_dropout_a_run_is_bitwise_independent_of_the_runs_beside_it(make):
    wide, narrow = (make(num_envs=runs, network=with_dropout(), control="weights") for runs in (3, 1))
    wide.training.begin([5, 6, 7]), narrow.training.begin([7])
    for _ in range(5):
        wide.step(np.ones((3, 3), np.float32)), narrow.step(np.ones((1, 3), np.float32))
    for p, q in zip(wide.network.parameters(), narrow.network.parameters(), strict=True):
        assert torch.equal(p[2], q[0])


def losses_of_an_update(make, seeds):
    """Return losses of minibatches of task 0 from equal weights, so that runs differ by masks and samples only."""
    env = make(num_envs=len(seeds), network=with_dropout())
    env.training.begin(seeds)
    with torch.no_grad():
        for p in env.network.parameters():
            p.copy_(p[:1].expand_as(p))
    env.training.minibatches.rows[:] = env.training.minibatches.rows[0, 0]  # all samples are the same one
    return env.training.update(np.zeros((len(seeds), 1), np.int64), np.ones((len(seeds), 1), np.float32)).loss[:, 0]


def test_dropout_masks_depend_on_the_seed_of_a_run_and_on_its_minibatch(make):
    one, other, again = losses_of_an_update(make, [0, 123, 0])
    assert one == again and one != other


def test_every_minibatch_of_a_step_has_its_own_masks():
    stack = RunStack(SharedNetwork(nn.Identity(), nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 2))), 1, 1, CPU)
    stack.renew([0])
    heads = stack.heads_at(torch.tensor([0, 0]))
    scores = stack.run(torch.ones(1, 2, 1, 64), heads, np.array([3]))
    assert not torch.equal(scores[0], scores[1])


def test_dropout_inside_an_attention_kernel_is_rejected():
    with pytest.raises(ValueError, match=r"MultiheadAttention\(dropout=0.1\).*dropout to 0"):
        SharedNetwork(nn.TransformerEncoderLayer(8, 2, dropout=0.1), nn.Linear(8, 2))


def test_the_last_layer_is_the_named_one_or_by_default_the_module_with_the_last_matrix():
    encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), LSTM(8, 3))

    def shapes(*layer):
        stack = RunStack(SharedNetwork(encoder, nn.Linear(3, 2), last_shared=layer), 1, 2, CPU)
        return [tuple(p.shape[1:]) for p in stack.last_shared]

    assert shapes() == shapes("2") == [(12, 8), (12, 3)]
    assert shapes("0") == [(8, 5)] and shapes("0", "2.weight_hh_l0") == [(8, 5), (12, 3)]
    with pytest.raises(ValueError, match=r"last_shared=\('3',\).* 0, 1, 2, 0.weight"):
        shapes("3")


def test_the_last_layer_of_the_bundled_text_networks_has_all_of_their_lstms():
    data = SimpleNamespace(vocabulary=range(9), characters=range(9), max_classes=3)
    for network, names in ((review_network, ["lstm"]), (tagging_network, ["ahead", "back"])):
        stack = RunStack(network(data), 1, 1, CPU)
        layer = [f"{name}.weight_{kind}_l0" for name in names for kind in ("ih", "hh")]
        own = stack._encoder.named()
        assert [name for name in own if any(own[name] is p for p in stack.last_shared)] == layer


TEXTS = SimpleNamespace(vocabulary=range(50), characters=range(30), max_classes=3)


@pytest.mark.parametrize(
    ("template", "x"),
    [
        (review_network(TEXTS), torch.randint(1, 50, (3, 2, 4, 9))),
        (tagging_network(TEXTS), torch.randint(1, 30, (3, 2, 4, 9, 6))),
        (SharedNetwork(WindowModel(), nn.Identity()), torch.randint(32, (3, 2, 4, 3)).float()),
    ],
)
def test_networks_of_the_package_compute_the_same_alone_to_the_bit(template, x):
    def found(seeds, x):
        stack, task = RunStack(template, 2, len(seeds), CPU), np.tile(np.array([1, 0]), (len(seeds), 1))
        stack.renew(seeds)
        scores = stack.run(x, stack.heads_at(stack.places(task)))
        parts = scores if isinstance(scores, tuple) else (scores,)
        gradients = torch.autograd.grad(sum(part.square().sum() for part in parts), stack.encoder_parameters)
        return [*(part.unflatten(0, (len(seeds), -1)) for part in parts), *gradients]

    for one, of_three in zip(found([6], x[1:2]), found([5, 6, 7], x), strict=True):
        assert torch.equal(one[0], of_three[1])


def test_an_encoder_without_matrices_has_no_gradient_norm(make):
    env = make(network=SharedNetwork(nn.Identity(), nn.Linear(5, 4)), control="weights", gradient_norms=True)
    env.step(np.ones((2, 3), np.float32))
    assert np.isnan(env.progress.gradient_norm).all()


def test_features_are_the_encoders_outputs():
    template = SharedNetwork(nn.Linear(5, 8), nn.Linear(8, 4))
    stack = RunStack(template, 3, 2, torch.device("cpu"))
    stack.renew([3, 4])
    x = torch.randn(6, 5)
    encoder, _ = alone(4, template, 3)
    assert torch.allclose(stack.features(x)[1], encoder(x), atol=1e-6)
