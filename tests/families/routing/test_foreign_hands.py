"""Networks in training that their user changes, differentiates, or trains by other means."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import mtl_gym
from mtl_gym.families.routing import RoutedLayer, RoutedNetwork

ROWS = 16


def network(first=lambda: [nn.Linear(64, 64) for _ in range(3)]):
    return RoutedNetwork(
        None, [RoutedLayer(first()), RoutedLayer([nn.Linear(64, 10) for _ in range(3)])], input_shape=(64,)
    )


def made(first=None, seed=0):
    given = network() if first is None else network(first)
    env = mtl_gym.make_vec_env("MTLRouting-Digits-v0", num_envs=ROWS, network=given).batched
    env.reset(seed=seed)
    return env


def played(env, steps=40):
    random = np.random.default_rng(0)
    for _ in range(steps):
        env.step(random.integers(3, size=env.num_envs))
    return env


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def moved(module, before):
    return [not torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True)]


def test_parameters_frozen_during_training_stay_as_they_are():
    env = played(made())
    first, second = env.network.layers
    first.requires_grad_(False)
    second.blocks[1].bias.requires_grad_(False)
    before = weights(env.network)
    played(env)
    assert moved(env.network, before) == [False] * 6 + [True, True, True, False, True, True]
    first.requires_grad_(True)
    assert all(moved(played(env).network.layers[0], before[:6]))


def test_an_update_of_a_network_frozen_during_training_is_not_counted():
    env = played(made())
    env.network.requires_grad_(False)
    updates = played(env).updates
    assert played(env).updates == updates


def test_gradients_of_the_caller_do_not_train():
    env = played(made())
    twin = env.fork()
    x = torch.randn(5, 64, requires_grad=True)
    torch.autograd.grad(env.network(x, np.zeros((5, 2), int)).sum(), x)
    env.network(x, np.zeros((5, 2), int)).sum().backward()
    used, unused = env.network.layers[0].blocks[:2]
    assert used.weight.grad.any() and used.bias.grad.any() and unused.weight.grad is None
    mine, theirs = (played(one).network.state_dict() for one in (env, twin))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_an_optimizer_that_the_caller_sets_trains():
    env, twin = made(), made()
    twin.network.load_state_dict(env.network.state_dict())
    env.optimizer = torch.optim.SGD(env.network.parameters(), lr=0.1)
    first, reached = weights(env.network), played(env).updates
    assert reached and all(moved(env.network, first))
    # The same steps in plain torch.
    twin.optimizer = torch.optim.SGD(twin.network.parameters(), lr=0.1)
    twin._stacks = []
    for layer in twin.network.layers:
        layer._stack.leaves = []
    played(twin)
    for mine, theirs in zip(env.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_weights_set_as_data_are_those_that_run_and_train():
    env = played(made())
    numbers = nn.utils.parameters_to_vector(env.network.parameters())
    nn.utils.vector_to_parameters(torch.zeros_like(numbers), env.network.parameters())
    x = torch.randn(5, 64)
    assert not env.network(x, np.zeros((5, 2), int)).any()
    twin = env.fork()
    mine, theirs = (played(one, 7).network.state_dict() for one in (env, twin))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert mine["layers.1.blocks.0.bias"].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda network: network.load_state_dict({k: v.clone() for k, v in network.state_dict().items()}, assign=True),
        lambda network: network.half(),
        lambda network: nn.utils.spectral_norm(network.layers[0].blocks[1]),
    ],
    ids=["assigned", "of half precision", "with a norm"],
)
def test_parameters_that_were_replaced_are_refused(change):
    env = played(made())
    change(env.network)
    with pytest.raises(ValueError, match="replaced or converted"):
        played(env)


def test_blocks_that_were_replaced_run_but_are_refused_in_training():
    env = played(made())
    other = nn.Linear(64, 64)
    env.network.layers[0].blocks[1] = other
    x = torch.randn(5, 64)
    with torch.no_grad():
        torch.testing.assert_close(env.network.layers[0](x, np.ones(5, int)), other(x))
    with pytest.raises(ValueError, match="Blocks were replaced"):
        played(env)


def test_blocks_that_were_replaced_before_training_train():
    given = network()
    given.layers[0].blocks[1] = nn.Linear(64, 64)
    env = mtl_gym.make_vec_env("MTLRouting-Digits-v0", num_envs=ROWS, network=given).batched
    env.reset(seed=0)
    before = weights(env.network)
    assert all(moved(played(env).network, before))


def normed():
    return [nn.utils.spectral_norm(nn.Linear(64, 64)) for _ in range(3)]


def tied():
    blocks = [nn.Linear(64, 64) for _ in range(3)]
    blocks[1].weight = blocks[0].weight
    return blocks


@pytest.mark.parametrize("first", [normed, tied])
def test_blocks_with_hooks_or_common_weights_train_as_torch_has_them(first):
    env = made(first)
    layer, before = env.network.layers[0], weights(env.network)
    assert all(moved(played(env).network, before))
    x = torch.randn(5, 64)
    for number, block in enumerate(layer.blocks):
        torch.testing.assert_close(layer.eval()(x, np.full(5, number)), block(x))


@pytest.mark.parametrize("runs", [1, 2])
def test_hooks_that_blocks_get_later_are_called_and_the_blocks_train_on(runs):
    env = mtl_gym.make_vec_env("MTLRouting-Digits-v0", num_envs=ROWS, runs=runs, network=network()).batched
    env.reset(seed=0)
    seen, alone = [], env.network if runs == 1 else env.network.networks[1]
    alone.layers[0].blocks[1].register_forward_hook(lambda *_: seen.append("forward"))
    alone.layers[1].blocks[1].register_full_backward_hook(lambda *_: seen.append("backward"))
    before = weights(env.network)
    assert all(moved(played(env).network, before))
    assert set(seen) == {"forward", "backward"}


def test_a_parametrization_that_comes_later_is_refused():
    env = made(lambda: [nn.Linear(64, 64) for _ in range(3)])
    parametrize.register_parametrization(env.network.layers[0].blocks[1], "weight", nn.Identity())
    with pytest.raises(ValueError, match="make another environment"):
        played(env)


def test_a_network_that_got_hooks_before_the_environment_was_made_is_copied():
    given, seen = network(), []
    given.layers[0].blocks[1].register_forward_hook(lambda *_: seen.append(1))
    env = mtl_gym.make_vec_env("MTLRouting-Digits-v0", num_envs=ROWS, network=given).batched
    env.reset(seed=0)
    played(env)
    assert seen


def test_weight_decay_set_by_hand_holds_for_stacks_and_copies():
    env, plain = made(), made()
    env.optimizer.param_groups[0]["weight_decay"] = 1.0
    twin = env.fork()
    mine, theirs, without = (played(one).network.state_dict() for one in (env, twin, plain))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert all(mine[name].norm() < without[name].norm() for name in mine if name.endswith("weight"))
