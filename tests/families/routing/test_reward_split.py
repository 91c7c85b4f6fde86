"""Rewards from held-out samples: what pays, what trains, and what stays as it is."""

import numpy as np
import pytest
import torch
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import Split
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork
from mtl_gym.lab.records import RunSettings
from mtl_gym.lab.report.method import settings_files
from mtl_gym.testing import CHECKS
from tests.families.routing.test_env import assert_same, roll, weights

# Block 0 answers 0 for negative numbers and 1 for positive ones; block 1 answers the other way round.
DIRECTIONS = [[-1.0, 1.0], [1.0, -1.0]]


def data():
    """Two tasks of one number each, labelled by its sign, except for the validation sample of task 1.

    Each task has one validation sample, so that the draw is known.
    """
    x = torch.tensor([[-2.0], [3.0], [-1.0], [2.0]])
    train = Split(x, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    validation = Split(torch.tensor([[0.5], [4.0]]), torch.tensor([0, 1]), torch.tensor([1, 0]))
    return MultiTaskDataset(
        "signs", {"train": train, "validation": validation, "test": train}, ("same", "other"), (("-", "+"),) * 2
    )


def network():
    blocks = [nn.Linear(1, 2) for _ in DIRECTIONS]
    for block, direction in zip(blocks, DIRECTIONS, strict=True):
        block.weight.data, block.bias.data = torch.tensor(direction)[:, None], torch.zeros(2)
    return RoutedNetwork(None, [RoutedLayer(blocks)], (1,))


def make(num_envs=4, **options):
    options = {
        "rho": 0.0,
        "train_batch": num_envs,
        "reward_split": "validation",
        "network": lambda context: network(),
    } | options
    env = RoutingVectorEnv(num_envs, data=data(), **options)
    env.reset(seed=0)
    return env


def test_the_validation_sample_of_the_task_pays():
    """By hand: 0.5 is positive and 4.0 is labelled "-", so that block 0 is right for task 0 and block 1 for task 1."""
    env = make()
    task = env._tasks()
    _, reward, *_, info = env.step(np.zeros(4, int))
    assert reward.tolist() == np.where(task == 0, 1.0, -1.0).tolist()
    assert info["final_info"]["correct"].all()  # of the training samples
    env = make()
    _, reward, *_, info = env.step(np.ones(4, int))
    assert reward.tolist() == np.where(task == 0, -1.0, 1.0).tolist() and not info["final_info"]["correct"].any()


def test_the_loss_of_the_validation_sample_pays():
    """By hand: block 0 gives (-x, x), so that the loss is log(1 + exp(-2x)) for "+" and log(1 + exp(2x)) for "-"."""
    env = make(reward="loss")
    task = env._tasks()
    _, reward, *_ = env.step(np.zeros(4, int))
    expected = np.where(task == 0, -np.log1p(np.exp(-1.0)), -np.log1p(np.exp(8.0)))
    np.testing.assert_allclose(reward, expected, rtol=1e-6)


def test_weights_train_on_the_training_samples_to_the_bit():
    own, held_out = make(reward_split="train"), make()
    for env in (own, held_out):
        env.step(np.array([0, 1, 0, 1]))
    assert own.updates == held_out.updates == 1
    assert all(torch.equal(value, weights(held_out)[name]) for name, value in weights(own).items())
    assert not torch.equal(weights(own)["layers.0.blocks.0.weight"], torch.tensor(DIRECTIONS[0])[:, None])


def test_rewards_follow_the_route_at_every_depth_and_the_statistics_of_batch_norm_stay():
    trunk = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    layers = [RoutedLayer([nn.Linear(6, 6) for _ in range(3)]) for _ in range(2)]
    template = RoutedNetwork(trunk, [*layers, RoutedLayer([nn.Linear(6, 2) for _ in range(3)])], (6,))
    rng = np.random.default_rng(0)
    rows = Split(rng.normal(size=(40, 6)), np.arange(40) % 2, np.arange(40) // 2 % 2)
    one = Split(rng.normal(size=(2, 6)), np.array([0, 1]), np.array([0, 1]))
    tiny = MultiTaskDataset("tiny", {"train": rows, "validation": one, "test": rows}, ("a", "b"), (("x", "y"),) * 2)
    env = RoutingVectorEnv(8, data=tiny, network=template, reward="loss", rho=0.0, reward_split="validation")
    env.reset(seed=0)
    task, routes = env._tasks(), rng.integers(3, size=(8, 3))
    network = env.network
    env.step(routes[:, 0])
    env.step(routes[:, 1])
    before = {name: value.clone() for name, value in network.named_buffers()}
    fork = env.fork()
    with torch.no_grad():
        logits = fork.network.eval()(tiny.inputs("validation", torch.from_numpy(task)), routes)
        expected = -nn.functional.cross_entropy(logits, torch.from_numpy(task), reduction="none")
    reward = env._advance(routes[:, 2], np.ones(8, bool)).reward
    torch.testing.assert_close(torch.from_numpy(reward), expected)
    assert network.training and all(torch.equal(before[name], value) for name, value in network.named_buffers())


def test_frozen_parts_stay_frozen_and_an_exception_leaves_the_modes():
    env = make()
    env.network.layers[0].eval()
    before = [part.training for part in env.network.modules()]
    task = env._tasks()

    def answer(sample):
        assert not any(part.training for part in env.network.modules())
        return torch.zeros(len(sample), 2)

    def fail(sample):
        raise RuntimeError("no answer")

    env._held_out.earned(env.network, answer, task, env.randoms)
    assert [part.training for part in env.network.modules()] == before and len(set(before)) == 2
    with pytest.raises(RuntimeError, match="no answer"):
        env._held_out.earned(env.network, fail, task, env.randoms)
    assert [part.training for part in env.network.modules()] == before


def test_evaluation_measures_the_split_that_it_is_asked_for():
    env = make(reward_split="validation")
    assert [
        mtl_gym.evaluate(lambda obs: 0 * obs["task"], env, split).accuracy.tolist() for split in ("train", "validation")
    ] == [[1, 1], [1, 0]]
    view = env.evaluation_view("train", 4)
    view.reset()
    assert view.step(np.zeros(4, int))[1].tolist() == [1, 1, 1, 1]  # its own samples pay, and nothing is drawn


def test_two_environments_with_one_seed_draw_the_same_samples_and_so_does_a_fork():
    options = {"data": "digits", "hidden": 6, "blocks": 3, "reward_split": "validation", "reward": "loss"}
    first, second = RoutingVectorEnv(6, **options), RoutingVectorEnv(6, **options)
    first.reset(seed=3), second.reset(seed=3)
    assert_same(roll(first, 7), roll(second, 7))
    fork = first.fork()
    assert_same(roll(first, 20, seed=1), roll(fork, 20, seed=1))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_holds(check):
    check("MTLRouting-Groups-v0", {"reward_split": "validation", "tasks": 4, "groups": 2})


def test_test_samples_never_pay():
    with pytest.raises(ValueError, match=r"reward_split='test' .* 'train' or 'validation': test samples are for eval"):
        make(reward_split="test")


def test_the_report_says_which_split_paid():
    settings = RunSettings("MTLRouting-Groups-v0", "random", 10, env_kwargs={"reward_split": "validation"})
    assert "reward_split: validation" in settings_files([settings])[0]
