"""Routing with hidden groups: the truth, disjoint splits, and who finds the groups."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import Assignment, HardeningMixture, RandomFixed, Separate, Shared, TaskSpecificAll
from mtl_agents.oracle import Oracle
from sklearn.datasets import load_digits
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import mtl_gym
from mtl_gym.data import MissingDataError, data_root
from mtl_gym.data.encoders import principal_components
from mtl_gym.families.routing.dealt import permuted_labels
from mtl_gym.families.routing.grouped import draw_groups, same_partition
from mtl_gym.families.routing.grouped_cifar import GroupedCIFARVectorEnv
from mtl_gym.families.routing.grouped_digits import GroupedDigitsVectorEnv
from mtl_gym.families.routing.groups import GroupsVectorEnv, contrary_teachers
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.testing import CHECKS
from tests.conftest import has_data

DIGITS, GROUPS = "MTLRouting-GroupedDigits-v0", "MTLRouting-Groups-v0"
KINDS = [GroupedDigitsVectorEnv, GroupsVectorEnv]
CIFAR = "MTLRouting-GroupedCIFAR-v0"
needs_cifar = pytest.mark.skipif(not has_data(CIFAR), reason="CIFAR-100's files are not there")
SMALL = {"tasks": 6, "groups": 2, "samples": 30}


def figure(kind, env_id, steps, **options):
    """Train an agent and return its test accuracy in per cent, with the block that each task takes most."""
    env = make_vec_env(env_id, 32, 0, **kind.ENV_KWARGS, **SMALL | options)
    agent = kind(env, seed=0).learn(steps)
    result = mtl_gym.evaluate(agent, env)
    return result.figure, result.figures["usage"][:, 0].argmax(1)


def images(data, split):
    """The images of a split as a set, and the number of its rows."""
    x = data.split(split).x
    return {row.numpy().tobytes() for row in x}, len(x)


@pytest.mark.parametrize("grouped", [DIGITS, GROUPS])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_they_keep_the_contract(check, grouped):
    check(grouped, SMALL)


@pytest.mark.parametrize("grouped", [DIGITS, GROUPS])
@pytest.mark.filterwarnings("error")
def test_stable_baselines3s_checker_is_content(grouped):
    sb3_check_env(gym.make(grouped).unwrapped)


def test_no_two_groups_give_a_digit_the_same_label():
    labels = permuted_labels(10, np.random.default_rng(0))
    assert all(sorted(row) == list(range(10)) for row in labels)
    assert all(sorted(column) == list(range(10)) for column in labels.T)


def test_every_image_has_the_label_that_its_group_gives_its_digit():
    env = GroupedDigitsVectorEnv(1)
    pixels, digits = load_digits(return_X_y=True)
    digit_of = {(row / 16).astype(np.float32).tobytes(): digit for row, digit in zip(pixels, digits, strict=True)}
    given = np.full((3, 10), -1)
    for split in ("train", "validation", "test"):
        part = env.data.split(split)
        rows = np.array([digit_of[row.numpy().tobytes()] for row in part.x])
        for group, digit, label in zip(env.groups[part.task], rows, part.y.numpy(), strict=True):
            assert given[group, digit] in (-1, label)
            given[group, digit] = label
    assert all(sorted(row) == list(range(10)) for row in given) and (given[:1] != given[1:]).all()


def test_no_image_is_in_two_splits_and_no_training_image_in_two_tasks():
    data = GroupedDigitsVectorEnv(1).data
    (train, rows), (validation, held_out), (test, tested) = (images(data, s) for s in ("train", "validation", "test"))
    assert rows == len(train) == 12 * 40 and held_out == len(validation) == 12 * 29
    assert tested == 12 * len(test) and len(test) > 350
    assert not train & validation and not train & test and not validation & test


def test_a_generated_label_is_the_largest_value_of_the_groups_teacher():
    env = GroupsVectorEnv(1, samples=100)
    for group in range(3):  # a linear classifier of all samples of a group fits them; of two groups, none does
        tasks = torch.from_numpy(np.flatnonzero(env.groups == group))
        assert fitted(env.data, tasks) > 0.98
    assert fitted(env.data, torch.arange(12)) < 0.7
    samples = [images(env.data, split) for split in ("train", "validation", "test")]
    assert len(set.union(*(rows for rows, _ in samples))) == sum(count for _, count in samples)


def test_no_two_teachers_give_an_input_the_same_label():
    random = np.random.default_rng(0)
    labels = (random.normal(size=(100, 16)) @ contrary_teachers(4, random)).argmax(-1)
    assert (np.sort(labels, axis=0) == np.arange(4)[:, None]).all()


def fitted(data, tasks):
    """Training accuracy of a linear classifier of these tasks."""
    split = data.split("train")
    mine = torch.isin(split.task, tasks)
    x, y = split.x[mine], split.y[mine]
    weight = torch.zeros(16, 4, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight, y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(((x @ weight).argmax(1) == y).float().mean())


@pytest.mark.parametrize(("tasks", "groups"), [(4, 2), (6, 3), (12, 3), (13, 4)])
def test_groups_are_even_and_follow_no_simple_rule(tasks, groups):
    for seed in range(20):
        drawn = draw_groups(tasks, groups, np.random.default_rng(seed))
        sizes = np.bincount(drawn, minlength=groups)
        assert sizes.max() - sizes.min() <= 1
        assert not same_partition(drawn, np.sort(drawn)) and not same_partition(drawn, np.arange(tasks) % groups)


@pytest.mark.parametrize("kind", KINDS)
def test_no_control_draws_the_groups(kind):
    env = kind(1)
    for seed in range(51):
        assert not same_partition(RandomFixed(env, seed=seed).routes[:, 0], env.groups)
    assert not same_partition(TaskSpecificAll(env, seed=0).routes[:, 0], env.groups)


@pytest.mark.parametrize("kind", KINDS)
def test_the_instance_sets_the_truth_and_the_seed_sets_the_weights(kind):
    first, again, other = kind(1), kind(1), kind(1, instance=1)
    first.reset(seed=0), again.reset(seed=1)
    assert np.array_equal(first.groups, again.groups) and not np.array_equal(first.groups, other.groups)
    assert torch.equal(first.data.split("train").x, again.data.split("train").x)
    assert not torch.equal(first.data.split("train").x, other.data.split("train").x)
    pairs = zip(first.network.parameters(), again.network.parameters(), strict=True)
    assert not any(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_action_is_the_block_of_the_group(kind):
    env = kind(64)
    obs, _ = env.reset(seed=0)
    assert env.best_actions().tolist() == env.groups[obs["task"]].tolist()
    view = env.evaluation_view("test", 8)
    obs, _ = view.reset()
    assert view.best_actions().tolist() == env.groups[obs["task"]].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_one_per_group_or_as_many_as_asked(kind):
    asked = ["per-group", "per-task", None, 5]
    assert [kind(1, blocks=blocks).num_blocks for blocks in asked] == [3, 12, 12, 5]
    two = kind(4, depth=2)
    two.reset(seed=0)
    assert two.routed_depth == 2 and [layer.choices for layer in two.network.layers] == [3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 2}, r"blocks=2 .* at least one block for each of the 3 groups"),
        ({"blocks": "many"}, r"blocks='many' .* one of \('per-group', 'per-task'\)"),
        ({"groups": 7}, r"groups=7 .* at most half of the 12 tasks"),
        ({"data": "mnist"}, r"data='mnist' .* 'grouped-digits' only"),
        ({"samples": 90}, r"samples=90 is too many for 12 tasks: there are images for 89 each"),
        ({"samples": 1, "tasks": 400}, r"tasks=400 is too many: each needs a validation image, and there are 359"),
    ],
)
def test_options_that_have_no_known_answer_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GroupedDigitsVectorEnv(1, **options)


def test_environments_share_groups_that_nobody_can_change():
    one, other = GroupsVectorEnv(1), GroupsVectorEnv(2)
    assert one.groups is other.groups
    with pytest.raises(ValueError, match="read-only"):
        one.groups[0] = 2


def test_separate_networks_need_a_block_per_task():
    assert Separate(make_vec_env(DIGITS, 2, **Separate.ENV_KWARGS)).routes[:, 0].tolist() == list(range(12))
    assert Separate("MTLRouting-Digits-v0").routes[:, 2].tolist() == list(range(10))
    with pytest.raises(ValueError, match=r"3 blocks for 12 tasks: make it with gym.make\(id, blocks='per-task'\)"):
        Separate(make_vec_env(DIGITS, 2))


@needs_cifar
def test_a_photograph_is_in_one_split_and_has_the_label_that_its_group_gives_its_class():
    env = GroupedCIFARVectorEnv(1)
    (train, rows), (validation, held_out), (test, tested) = (
        images(env.data, split) for split in ("train", "validation", "test")
    )
    assert rows == len(train) == 480 and held_out == len(validation) == 480
    assert tested == 12 * len(test) and len(test) == 1000
    assert not train & validation and not train & test and not validation & test
    part = env.data.split("test")
    labels = part.y.reshape(12, 1000)
    for group in range(3):
        own = labels[torch.from_numpy(env.groups == group)]
        assert bool((own == own[0]).all()) and torch.bincount(own[0]).tolist() == [100] * 10
    assert all(
        bool((labels[a] != labels[b]).all()) for a in range(12) for b in range(a) if env.groups[a] != env.groups[b]
    )


def test_principal_components_are_ordered_by_variance_and_have_a_sign():
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 4.0, 2.0, 0.1])
    found = principal_components(x - x.mean(0), 3)
    assert found.abs().argmax(0).tolist() == [1, 2, 0] and bool((found.amax(0) > 0.9).all())
    assert torch.allclose(found.T @ found, torch.eye(3), atol=1e-5)


@needs_cifar
def test_features_of_photographs_are_computed_once_per_data_root(tmp_path):
    for path in data_root().glob("cifar*"):
        (tmp_path / path.name).symlink_to(path)
    env = GroupedCIFARVectorEnv(1, data_root=tmp_path)
    (cache,) = (tmp_path / "features").iterdir()
    assert cache.name.startswith("cifar-ten-") and cache.stat().st_size < 12e6
    again = GroupedCIFARVectorEnv(1, data_root=tmp_path, instance=1)
    assert torch.allclose(GroupedCIFARVectorEnv(1).data.split("test").x, env.data.split("test").x, atol=1e-4)
    assert torch.equal(env.data.split("test").x, again.data.split("test").x)


def test_without_the_photographs_the_message_says_how_to_get_them(tmp_path):
    with pytest.raises(MissingDataError, match=r"'cifar' is not in .* Get it with .*mtl-gym data get cifar"):
        GroupedCIFARVectorEnv(1, data_root=tmp_path)


@pytest.mark.parametrize(
    ("grouped", "steps"), [(DIGITS, 8_000), (GROUPS, 8_000), pytest.param(CIFAR, 8_000, marks=needs_cifar)]
)
def test_routing_by_group_is_best_and_no_control_comes_near(grouped, steps):
    best, _ = figure(Oracle, grouped, steps)
    controls = [figure(control, grouped, steps)[0] for control in (Separate, RandomFixed, TaskSpecificAll, Shared)]
    assert best > max(controls) + 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_annealed_assignment_finds_the_true_groups(seed):
    env = make_vec_env(DIGITS, 64, seed)
    result = mtl_gym.evaluate(Assignment(env, seed=seed).learn(mtl_gym.card(DIGITS).steps), env)
    assert same_partition(result.figures["usage"][:, 0].argmax(1), env.batched.groups)
    assert result.figure > 85


@pytest.mark.slow
def test_a_mixture_that_hardens_over_half_of_the_training_mostly_finds_the_groups():
    """In some runs two groups meet in one block."""
    figures = []
    for seed in range(3):
        env = make_vec_env(DIGITS, 64, seed, mixture=True)
        agent = HardeningMixture(env, seed=seed).learn(mtl_gym.card(DIGITS).steps)
        figures.append(mtl_gym.evaluate(agent, env).figure)
    assert np.median(figures) > 85
