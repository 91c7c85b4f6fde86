"""Behaviour of the routing environments on small hand-computable data."""

import logging

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import mtl_gym
from mtl_gym import TrainingDiverged
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing.env import RoutingEnv, RoutingVectorEnv
from mtl_gym.families.routing.network import RoutedLayer, RoutedNetwork


def tiny_data(rows=60, classes=(2, 3), features=6):
    rng = np.random.default_rng(0)
    tasks = {}
    for task, count in enumerate(classes):
        y = np.arange(rows) % count
        tasks[f"task {task}"] = (rng.normal(size=(rows, features)) + y[:, None] * (task + 1), y)
    return MultiTaskDataset.from_tasks("tiny", tasks)


def make(num_envs=4, **options):
    return RoutingVectorEnv(num_envs, **{"data": tiny_data(), "hidden": 6, "blocks": 3} | options)


def random_actions(env, rng):
    masks = env.action_masks()
    return np.where(masks, rng.random(masks.shape), -1).argmax(1)


def roll(env, steps, seed=0, valid=True):
    """Return all results of `steps` random steps."""
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(steps):
        actions = random_actions(env, rng) if valid else rng.integers(env.single_action_space.n, size=env.num_envs)
        obs, reward, terminated, truncated, info = env.step(actions)
        seen.append((obs["value"], obs["task"], obs["depth"], reward, terminated, truncated, info["action_mask"]))
    return seen


def assert_same(first, second):
    assert len(first) == len(second)
    for left, right in zip(first, second, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


def weights(env):
    return {key: value.clone() for key, value in env.network.state_dict().items()}


def test_episode_has_one_decision_per_depth_and_final_reward():
    env = make(rho=0.0)
    env.reset(seed=0)
    for depth in range(2):
        obs, reward, terminated, _, _ = env.step(np.zeros(4, int))
        assert obs["depth"].tolist() == [depth + 1] * 4
        assert reward.tolist() == [0.0] * 4
        assert not terminated.any()
    obs, reward, terminated, truncated, info = env.step(np.zeros(4, int))
    final = info["final_info"]
    assert terminated.all() and not truncated.any()
    assert obs["depth"].tolist() == [0] * 4
    np.testing.assert_array_equal(reward, np.where(final["prediction"] == final["label"], 1.0, -1.0))
    np.testing.assert_array_equal(final["is_success"], final["correct"])
    assert final["route"].tolist() == [[0, 0, 0]] * 4


def test_final_info_matches_the_route():
    env = make(num_envs=3, train=False, reward="loss", rho=0.0)
    env.reset(seed=1)
    routes = np.array([[0, 1, 2], [3, 2, 0], [1, 3, 1]])
    for depth in range(3):
        *_, info = env.step(routes[:, depth])
    final = info["final_info"]
    x = env.data.inputs("train", torch.from_numpy(final["sample"]))
    with torch.no_grad():
        logits = env.network.eval()(x, routes)
    logits[final["task"] == 0, 2] = -torch.inf  # the first task has two classes only
    label = torch.from_numpy(final["label"])
    torch.testing.assert_close(
        torch.from_numpy(final["loss"]), nn.functional.cross_entropy(logits, label, reduction="none")
    )
    assert final["prediction"].tolist() == logits.argmax(1).tolist()
    assert final["label"].tolist() == env.data.splits["train"].y[final["sample"]].tolist()


def test_update_is_one_adam_step_on_mean_batch_loss():
    env = make(num_envs=12, train_batch=10)
    env.reset(seed=3)
    network = env.network.renewed()
    network.load_state_dict(env.network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    rng = np.random.default_rng(0)
    routes = rng.integers(3, size=(12, 3))
    for depth in range(3):
        *_, info = env.step(routes[:, depth])
    final = info["final_info"]
    x = env.data.inputs("train", torch.from_numpy(final["sample"]))
    logits = network(x, routes)
    restricted = torch.where(torch.from_numpy(final["task"] == 0)[:, None] & (torch.arange(3) == 2), -torch.inf, logits)
    nn.functional.cross_entropy(restricted, torch.from_numpy(final["label"])).backward()
    optimizer.step()
    assert env.updates == 1
    for mine, theirs in zip(env.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def test_narrow_environments_update_after_train_batch_episodes():
    env = make(num_envs=1, train_batch=5)
    env.reset(seed=0)
    updates = []
    for _ in range(10):
        for _ in range(3):
            env.step(np.zeros(1, int))
        updates.append(env.updates)
    assert updates == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2]


def test_unused_blocks_and_their_optimizer_state_stay_bit_identical():
    env = make(num_envs=10)
    env.reset(seed=0)
    roll(env, 30)  # every block has been trained, so that Adam's moments would move it
    idle = [layer.blocks[2] for layer in env.network.layers]
    before = [[p.clone() for p in block.parameters()] for block in idle]
    moments = [
        {k: torch.as_tensor(v).clone() for k, v in env.optimizer.state[p].items()} for b in idle for p in b.parameters()
    ]
    assert all(state["step"] > 0 for state in moments)
    trained = env.network.layers[0].blocks[0].weight.clone()
    for _ in range(12):
        env.step(np.zeros(10, int))
    assert not torch.equal(env.network.layers[0].blocks[0].weight, trained)
    for block, values in zip(idle, before, strict=True):
        assert all(torch.equal(p, v) for p, v in zip(block.parameters(), values, strict=True))
    after = [env.optimizer.state[p] for b in idle for p in b.parameters()]
    for old, new in zip(moments, after, strict=True):
        assert all(torch.equal(old[key], torch.as_tensor(new[key])) for key in old)


def test_frozen_environment_never_changes_its_network():
    env = make(train=False)
    env.reset(seed=0)
    before = weights(env)
    roll(env, 60)
    assert env.updates == 0
    assert all(torch.equal(before[key], value) for key, value in env.network.state_dict().items())


@pytest.mark.parametrize("valid", [True, False])
def test_equal_seeds_give_equal_trajectories(valid):
    first, second = make(hidden=8), make(hidden=8)
    first.reset(seed=5), second.reset(seed=5)
    assert_same(roll(first, 60, valid=valid), roll(second, 60, valid=valid))
    first.reset(seed=5)
    second.reset(seed=6)
    assert not np.array_equal(roll(first, 1)[0][0], roll(second, 1)[0][0])


def test_reseeding_restarts_and_logs_lost_network_once(caplog):
    env = make()
    env.reset(seed=5)
    first = roll(env, 60)
    with caplog.at_level(logging.WARNING):
        env.reset(seed=5)
        assert_same(first, roll(env, 60))
        env.reset(seed=5)
    assert [record.message for record in caplog.records if "discards" in record.message] == [
        "reset(seed=...) discards a network trained for 6 updates."
    ]


def test_reset_without_seed_continues_training():
    env = make()
    env.reset(seed=5)
    roll(env, 30)
    before = weights(env)
    env.reset()
    assert all(torch.equal(before[key], value) for key, value in env.network.state_dict().items())


def test_global_generators_are_unchanged():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    env = make()
    env.reset(seed=0)
    roll(env, 30)
    env.evaluation_view().reset()
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_batch_of_one_equals_vector_environment_of_width_one():
    options = {"data": tiny_data(), "hidden": 6, "blocks": 3}
    single, batched = RoutingEnv(**options), RoutingVectorEnv(1, **options)
    obs, info = single.reset(seed=9)
    wide_obs, wide_info = batched.reset(seed=9)
    rng = np.random.default_rng(0)
    for _ in range(100):
        np.testing.assert_array_equal(obs["value"], wide_obs["value"][0])
        assert (obs["task"], obs["depth"]) == (wide_obs["task"][0], wide_obs["depth"][0])
        np.testing.assert_array_equal(info["action_mask"], wide_info["action_mask"][0])
        action = int(rng.choice(np.flatnonzero(single.action_masks())))
        obs, reward, terminated, _, info = single.step(action)
        wide_obs, wide_reward, wide_terminated, _, wide_info = batched.step(np.array([action]))
        assert (reward, terminated) == (wide_reward[0], wide_terminated[0])
        if terminated:
            np.testing.assert_array_equal(obs["value"], wide_info["final_obs"][0]["value"])
            assert info["loss"] == wide_info["final_info"]["loss"][0]
            obs, info = single.reset()


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("steps", [6, 7, 20, 33])
@pytest.mark.parametrize("num_envs", [1, 4, 16])
def test_restored_environment_resumes_exactly(tmp_path, num_envs, steps, valid):
    # A hidden width unlike the inputs' masks PASS at the first depth, so invalid choices offset rows.
    env = make(num_envs, hidden=8)
    env.reset(seed=2)
    roll(env, steps, valid=valid)
    checkpoint.save(env.state_dict(), tmp_path / "env.pt")
    restored = make(num_envs, hidden=8)
    restored.load_state_dict(checkpoint.load(tmp_path / "env.pt"))
    expected = roll(env, 40, seed=1, valid=valid)
    assert_same(expected, roll(restored, 40, seed=1, valid=valid))
    assert restored.updates == env.updates
    for key, value in env.network.state_dict().items():
        assert torch.equal(value, restored.network.state_dict()[key])


def images():
    x = np.random.default_rng(0).normal(size=(40, 1, 16, 16))
    return MultiTaskDataset.from_tasks("images", {"a": (x, np.arange(40) % 2)})


def test_batch_norm_uses_batch_statistics_in_training():
    env = RoutingVectorEnv(12, data=images(), blocks=2, hidden=32)
    env.reset(seed=0)
    normalised = env.network.trunk[1](env.network.trunk[0](env._inputs(env._waiting.samples)))
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(32), atol=1e-5, rtol=0)
    assert env.network.trunk[1].num_batches_tracked > 0


def test_evaluation_does_not_affect_training():
    first, second = (RoutingVectorEnv(4, data=images(), blocks=2, hidden=32) for _ in range(2))
    first.reset(seed=0), second.reset(seed=0)
    mtl_gym.evaluate(lambda obs: np.zeros(len(obs["task"]), int), first)
    assert_same(roll(first, 30), roll(second, 30))


def test_convolutional_trunk_with_batch_norm_is_restored_exactly():
    env = RoutingVectorEnv(4, data=images(), blocks=2, hidden=32)
    env.reset(seed=0)
    roll(env, 25)
    twin = env.fork()
    assert_same(roll(env, 25, seed=1), roll(twin, 25, seed=1))
    for key, value in env.network.state_dict().items():
        assert torch.equal(value, twin.network.state_dict()[key]), key


def test_fork_is_independent():
    env = make()
    env.reset(seed=0)
    roll(env, 20)
    twin = env.fork()
    before = weights(env)
    roll(twin, 30, seed=7)
    assert all(torch.equal(before[key], value) for key, value in env.network.state_dict().items())
    single = RoutingEnv(data=tiny_data(), hidden=6)
    single.reset(seed=0)
    assert isinstance(single.fork(), RoutingEnv)


def test_rows_at_different_depths_train_the_blocks_of_their_routes():
    """Check that unfinished routes survive an update, with rows at different depths after invalid choices."""
    env = make(num_envs=6, train_batch=4, hidden=8)
    env.reset(seed=0)
    rng = np.random.default_rng(3)
    updates_in_between = 0
    for _ in range(60):
        before, depths = env.updates, env._routes.depth.copy()
        env.step(rng.integers(4, size=6))
        depth, values = env._routes.depth, env._graph.values.detach()
        x = env.data.inputs("train", torch.from_numpy(env._sample))
        with torch.no_grad():
            expected = env.network.embed(x)
            for d in range(2):
                deeper = np.flatnonzero(depth > d)
                if len(deeper):
                    expected[deeper] = env.network.decide(expected[deeper], d, env._routes.choice[deeper, d])
        torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
        updates_in_between += env.updates > before and len(set(depths)) > 1
    assert updates_in_between > 10


def test_invalid_choice_ends_episode_without_gradient():
    env = make(num_envs=2, train_batch=1)
    env.reset(seed=0)
    env.step(np.array([0, 0])), env.step(np.array([1, 1]))
    before = weights(env)
    _, reward, terminated, _, info = env.step(np.array([3, 3]))  # PASS is masked at the last depth
    assert reward.tolist() == [-1.0, -1.0]
    assert terminated.all()
    assert info["final_info"]["invalid_action"].all()
    assert not info["final_info"]["is_success"].any()
    assert not info["final_info"]["_loss"].any()
    assert all(torch.equal(before[key], value) for key, value in env.network.state_dict().items())


@pytest.mark.parametrize(
    "actions",
    [np.array([0, 0, 0, 4]), np.array([-1, 0, 0, 0]), np.zeros(3, int), np.zeros((4, 1), int), np.full(4, 0.5)],
)
def test_action_outside_space_is_refused_without_side_effects(actions):
    env, twin = make(), make()
    env.reset(seed=0), twin.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        env.step(actions)
    assert_same(roll(env, 12), roll(twin, 12))


def test_error_for_action_outside_space_contains_row_and_value():
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action 7 in row 2 lies outside Discrete\(4\)"):
        env.step(np.array([0, 1, 7, 0]))


def test_step_before_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded):
        make().step(np.zeros(4, int))


def test_observations_and_masks_lie_in_their_spaces():
    env = make(num_envs=5)
    obs, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert obs in env.observation_space
        assert info["action_mask"].shape == (5, 4) and info["action_mask"].dtype == bool
        obs, _, terminated, _, info = env.step(rng.integers(4, size=5))
        for row in np.flatnonzero(terminated):
            assert info["final_obs"][row] in env.single_observation_space
        if terminated.any():
            assert all(info["final_obs"][row] is None for row in np.flatnonzero(~terminated))


def test_later_steps_do_not_change_earlier_observations():
    env = make()
    obs, _ = env.reset(seed=0)
    kept = {key: value.copy() for key, value in obs.items()}
    roll(env, 20)
    assert all(np.array_equal(kept[key], obs[key]) for key in kept)


def test_tensor_option_returns_tensors():
    env = make(tensors=True)
    plain = make()
    obs, _ = env.reset(seed=0)
    plain.reset(seed=0)
    for _ in range(6):
        obs, reward, terminated, truncated, info = env.step(torch.zeros(4, dtype=torch.int64))
        expected, plain_reward, *_ = plain.step(np.zeros(4, int))
        assert all(torch.equal(obs[key], torch.as_tensor(expected[key])) for key in obs)
        assert torch.equal(reward, torch.from_numpy(plain_reward))
        assert terminated.dtype == truncated.dtype == torch.bool
    assert isinstance(info["final_obs"]["value"], torch.Tensor)
    with pytest.raises(ValueError, match=r"use gym.make_vec"):
        RoutingEnv(data=tiny_data(), tensors=True)


def test_evaluation_view_passes_once_over_split_in_order_without_training():
    env = make()
    env.reset(seed=0)
    roll(env, 20)
    before = weights(env)
    view = env.evaluation_view("test", num_envs=7)
    for _ in range(2):
        view.reset()
        samples = []
        while not view.pass_over:
            *_, done, _, info = view.step(np.zeros(7, int))
            if done.any():
                samples += [s for s in info["final_info"]["sample"] if s >= 0]
        assert samples == list(range(len(env.data.splits["test"])))
    assert all(torch.equal(before[key], value) for key, value in env.network.state_dict().items())
    twin = make()
    twin.reset(seed=0)
    roll(twin, 20)
    assert_same(roll(env, 20, seed=1), roll(twin, 20, seed=1))


def test_learning_rate_falls_to_a_tenth_every_decay_epochs():
    env = make(num_envs=12, decay_epochs=1, learning_rate=0.5)
    env.reset(seed=0)
    rates = []
    while env.epoch < 2.2:
        roll(env, 3)
        rates.append(env.optimizer.param_groups[0]["lr"])
    assert sorted({round(rate, 9) for rate in rates}, reverse=True) == [0.5, 0.05, 0.005]


@pytest.mark.parametrize("reward", [lambda logits, label, task: logits[:, 0] * torch.nan, "correct"])
def test_divergence_stops_environment_before_reaching_observations(reward):
    env = make(reward=reward, learning_rate=1e38)
    env.reset(seed=0)
    with pytest.raises(TrainingDiverged, match=r"task 'task [01]'") as caught:
        for seen in roll(env, 200):
            assert np.isfinite(seen[0]).all()
    assert caught.value.update == env.updates
    with pytest.raises(TrainingDiverged):
        env.step(np.zeros(4, int))
    with pytest.raises(TrainingDiverged):
        env.reset()
    env.reset(seed=0)
    env.step(np.zeros(4, int))


def test_drawn_seed_repeats_the_trajectory():
    env, twin = make(), make()
    obs, info = env.reset()
    assert info["seed"].dtype == np.int64
    again, _ = twin.reset(seed=int(info["seed"][0]))
    np.testing.assert_array_equal(obs["value"], again["value"])
    assert make().reset()[1]["seed"][0] != info["seed"][0]


def test_shared_blocks_without_layering_are_counted_once_and_restored():
    env = make(layering=False)
    env.reset(seed=0)
    assert env.single_action_space.n == 7
    roll(env, 25)
    twin = env.fork()
    assert_same(roll(env, 25, seed=1), roll(twin, 25, seed=1))
    result = mtl_gym.evaluate(lambda obs: np.where(obs["depth"] < 2, 4, 0), env)
    assert result.figures["blocks_used"] == 2


def test_custom_reward_is_paid():
    env = make(reward=lambda logits, label, task: label + 10.0 * task, rho=0.0)
    env.reset(seed=0)
    for _ in range(3):
        _, reward, *_, info = env.step(np.zeros(4, int))
    final = info["final_info"]
    np.testing.assert_array_equal(reward, final["label"] + 10.0 * final["task"])


def test_custom_network_is_redrawn_for_every_seed():
    layers = [RoutedLayer([nn.Linear(6, 4) for _ in range(2)], activation=nn.Tanh()), RoutedLayer([nn.Linear(4, 3)])]
    env = make(network=RoutedNetwork(None, layers, (6,)))
    env.reset(seed=0)
    first = weights(env)
    env.reset(seed=1)
    assert not torch.equal(first["layers.0.blocks.0.weight"], env.network.layers[0].blocks[0].weight)
    env.reset(seed=0)
    assert torch.equal(first["layers.0.blocks.0.weight"], env.network.layers[0].blocks[0].weight)
    assert env.single_action_space.n == 3


def test_function_makes_the_network():
    def build(context):
        return RoutedNetwork(None, [RoutedLayer([nn.Linear(6, 3)])], (6,))

    env = make(network=build)
    env.reset(seed=0)
    twin = make(network=build)
    twin.reset(seed=0)
    assert_same(roll(env, 5), roll(twin, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs=0"),
        ({"depth": 0}, "depth=0"),
        ({"blocks": 0}, "blocks=0"),
        ({"train_batch": 0}, "train_batch=0"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
        ({"rho": -1.0}, "rho=-1.0"),
        ({"reward": "score"}, "reward='score'"),
        ({"split": "dev"}, "dev"),
        ({"device": "tpu9"}, "device='tpu9'"),
        ({"render_mode": "video"}, "render_mode='video'"),
        ({"data": "imagenet"}, "imagenet"),
        ({"network": RoutedNetwork(None, [RoutedLayer([nn.Linear(5, 3)])], (5,))}, r"inputs of shape \(5,\)"),
        ({"network": RoutedNetwork(None, [RoutedLayer([nn.Linear(6, 2)])], (6,))}, "2 classes"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_invalid_seed_is_refused():
    with pytest.raises(ValueError, match=r"seed=\[1, 2\]"):
        make().reset(seed=[1, 2])


def test_foreign_checkpoint_is_refused_without_side_effects():
    env = make()
    env.reset(seed=0)
    before = weights(env)
    for different in ({"blocks": 2}, {"train_batch": 30}, {"rho": 0.0}, {"reward": "loss"}):
        other = make(**different)
        other.reset(seed=0)
        with pytest.raises(CheckpointError, match="from another environment"):
            env.load_state_dict(other.state_dict())
    with pytest.raises(CheckpointError, match="from another environment"):
        env.load_state_dict({"something": 1})
    assert all(torch.equal(before[key], value) for key, value in env.network.state_dict().items())


def test_evaluate_counts_every_sample_once_by_task():
    env = make()
    env.reset(seed=0)
    result = mtl_gym.evaluate(lambda obs: np.zeros(len(obs["task"]), int), env, num_envs=7)
    test = env.data.splits["test"]
    assert result.episodes.tolist() == np.bincount(test.task, minlength=2).tolist()
    with torch.no_grad():
        logits = env.network.eval()(env.data.inputs("test", torch.arange(len(test))), np.zeros((len(test), 3), int))
    logits[test.task == 0, 2] = -torch.inf
    right = (logits.argmax(1) == test.y).numpy()
    expected = [right[test.task.numpy() == task].mean() for task in range(2)]
    np.testing.assert_allclose(result.accuracy, expected)
    losses = nn.functional.cross_entropy(logits, test.y, reduction="none").numpy()
    np.testing.assert_allclose(result.loss, [losses[test.task.numpy() == t].mean() for t in range(2)], rtol=1e-4)
    assert result.figures["blocks_used"] == 3


def test_evaluate_counts_invalid_choices_as_wrong():
    env = make()
    env.reset(seed=0)
    result = mtl_gym.evaluate(lambda obs: np.full(len(obs["task"]), 3), env)
    assert result.accuracy.tolist() == [0.0, 0.0]
    assert np.isnan(result.loss).all()
