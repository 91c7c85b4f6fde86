"""Behaviour of the limitless environments on small hand-computable data."""

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
from mtl_gym.families.limitless import execution
from mtl_gym.families.limitless.env import LimitlessEnv, LimitlessVectorEnv
from mtl_gym.families.limitless.pool import ModulePool, PoolModule
from tests.families.limitless.pools import make, tiny_data, valid_actions

DIGITS = "MTLLimitless-Digits-v0"


def roll(env, steps, seed=0, valid=True):
    """Return all results of `steps` random steps."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        invalid = rng.integers(env.single_action_space.n, size=env.num_envs)
        obs, reward, terminated, _, info = env.step(valid_actions(env, rng) if valid else invalid)
        seen.append([*obs.values(), reward, terminated, info["action_mask"]])
    return seen


def assert_same(first, second):
    for left, right in zip(first, second, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


def weights(env):
    return {key: value.clone() for key, value in env.network.state_dict().items()}


def test_observation_contains_image_task_modules_and_depth():
    env = make(num_envs=3, train=False)
    obs, _ = env.reset(seed=0)
    x = env.data.split("train").x
    low, high = float(x.min()), float(x.max())
    expected = ((x[env._sample] - low) / (high - low)).reshape(3, 1, 4, 4)
    np.testing.assert_allclose(obs["image"], expected, atol=1e-6)
    assert obs["chosen"].tolist() == [[0] * 4] * 3 and obs["depth"].tolist() == [0] * 3
    env.step(np.array([0, 6, 0]))
    obs, *_ = env.step(np.array([1, 12, 2]))
    assert obs["chosen"].tolist() == [[1, 2, 0, 0], [7, 0, 0, 0], [1, 3, 0, 0]]
    assert obs["depth"].tolist() == [2, 2, 2]


def test_network_runs_only_after_head_is_placed(monkeypatch):
    env, runs = make(), []
    monkeypatch.setattr(execution, "run", lambda pool, x, networks, run=execution.run: runs.append(len(x)) or run(pool, x, networks))  # fmt: skip # noqa: E501
    env.reset(seed=0)
    env.step(np.zeros(4, int))
    assert runs == []
    env.step(np.array([4, 4, 1, 4]))  # three heads and a convolution
    assert runs == [3]


def test_reward_is_negative_loss_of_chosen_network():
    env = make(num_envs=3, train=False, bonus=False)
    env.reset(seed=1)
    for actions in ([0, 6, 0], [1, 8, 2], [4, 11, 3]):
        _, reward, terminated, _, info = env.step(np.array(actions))
    final = info["final_info"]
    assert terminated.tolist() == [True, True, False]
    x = env.data.inputs("train", torch.from_numpy(final["sample"])).reshape(-1, 1, 4, 4)
    pool = env.network.eval()
    for row, network in enumerate(([0, 1, 4], [6, 8, 11])):
        value = x[row : row + 1]
        for module in network:
            value = pool[module](value)
        if final["task"][row] == 0:
            value[:, 2] = -torch.inf  # the first task has two classes only
        loss = nn.functional.cross_entropy(value, torch.tensor([final["label"][row]])).item()
        assert reward[row] == pytest.approx(-loss, abs=1e-5)
        assert final["loss"][row] == pytest.approx(loss, abs=1e-5)
        assert final["prediction"][row] == value.argmax().item()
        assert final["route"][row].tolist() == [*network, -1]
    assert reward[2] == 0


def test_steps_pay_the_running_bonus_of_equation_6():
    env = make(num_envs=4, bonus=0.5)
    env.reset(seed=0)
    _, reward, *_ = env.step(np.array([0, 0, 0, 6]))
    assert reward.tolist() == [0.5] * 4  # without earlier choices, all counts are equal
    _, reward, *_ = env.step(np.array([1, 1, 12, 12]))
    assert reward.tolist() == [0.5, 0.5, 0.0, 0.0]  # new modules earn the bonus, PASS does not
    memory = 128 * 4
    counts = np.array([3.0, 2.0, *[0] * 4, 1.0, *[0] * 5])
    counts[[0, 6]] *= (1 - 1 / memory) ** 2
    np.testing.assert_allclose(env._bonus.counts, counts)
    env.pay_bonus(False)
    _, reward, *_ = env.step(np.array([7, 7, 1, 1]))
    assert reward.tolist() == [0.0] * 4


def test_update_is_one_adam_step_on_mean_batch_loss():
    env = make(num_envs=6, train_batch=6)
    env.reset(seed=3)
    pool = env.network.renewed()
    pool.load_state_dict(env.network.state_dict())
    optimizer = torch.optim.Adam(pool.parameters(), 1e-4)
    samples, networks = env._sample.copy(), np.array([[0, 4, -1, -1], [0, 2, 5, -1]] * 3)
    env.step(np.zeros(6, int))
    env.step(np.array([4, 2] * 3))
    assert env.updates == 0
    env.step(np.array([6, 5] * 3))  # even rows begin new networks meanwhile
    assert env.updates == 1
    x = env.data.inputs("train", torch.from_numpy(samples)).reshape(-1, 1, 4, 4)
    logits = execution.run(pool, x, networks)
    task = torch.from_numpy(env._task[samples])
    logits = torch.where((task == 0)[:, None] & (torch.arange(3) == 2), -torch.inf, logits)
    nn.functional.cross_entropy(logits, torch.from_numpy(env._label[samples])).backward()
    optimizer.step()
    for mine, theirs in zip(env.network.parameters(), pool.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def test_unused_modules_and_their_optimizer_state_stay_bit_identical():
    env = make(num_envs=8, train_batch=8)
    env.reset(seed=0)
    roll(env, 60)  # every module has been trained, so that Adam's moments would move it
    while env._ended or (env._building.networks.depth > 0).any():  # until a batch ends with all rows at depth 0
        env.step(np.where(env._building.networks.depth > 0, env.action_masks()[:, :-1].argmax(1), 12))
    before, moments = weights(env), {k: {n: t.clone() for n, t in s.items()} for k, s in env.optimizer.state.items()}
    env.step(np.zeros(8, int))
    env.step(np.full(8, 4))
    after = weights(env)
    moved = {key.split(".")[1] for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"0", "4"}
    for number in {*range(12)} - {0, 4}:
        for parameter in env.network[number].parameters():
            assert all(torch.equal(moments[parameter][n], t) for n, t in env.optimizer.state[parameter].items())


def test_learning_rate_falls_by_3_percent_per_epoch():
    env = make(num_envs=20, train_batch=20, learning_rate=0.1)
    env.reset(seed=0)
    while env.epoch < 2.3:
        roll(env, 1)
    assert env.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.97**2)


def test_invalid_action_ends_episode_without_training():
    env = make(num_envs=3, train_batch=3)
    env.reset(seed=0)
    before = weights(env)
    _, reward, terminated, _, info = env.step(np.array([1, 12, 5]))  # no input conv, PASS at the start, a head
    assert reward.tolist() == [-10.0] * 3 and terminated.all()
    final = info["final_info"]
    assert final["invalid_action"].all() and not final["_loss"].any() and not final["is_success"].any()
    assert all(torch.equal(value, before[key]) for key, value in weights(env).items())
    env.step(np.zeros(3, int))
    _, reward, *_ = env.step(np.zeros(3, int))  # the same module again
    assert reward.tolist() == [-10.0] * 3
    with pytest.raises(ValueError, match=r"action 13 in row 1 lies outside Discrete\(13\)"):
        env.step(np.array([0, 13, 0]))


@pytest.mark.parametrize("valid", [True, False])
def test_restored_environment_resumes_exactly(tmp_path, valid):
    env = make(num_envs=5, train_batch=7)
    env.reset(seed=0)
    roll(env, 23, valid=valid)
    checkpoint.save(env.state_dict(), tmp_path / "state.pt")
    restored = make(num_envs=5, train_batch=7)
    restored.load_state_dict(checkpoint.load(tmp_path / "state.pt"))
    twin = env.fork()
    expected = roll(env, 40, seed=1, valid=valid)
    assert_same(expected, roll(restored, 40, seed=1, valid=valid))
    assert_same(expected, roll(twin, 40, seed=1, valid=valid))
    for key, value in weights(env).items():
        assert torch.equal(value, restored.network.state_dict()[key]) and torch.equal(
            value, twin.network.state_dict()[key]
        )
    assert env.updates == restored.updates > 0
    assert env.usage.taken.tolist() == restored.usage.taken.tolist()


def test_equal_seeds_give_equal_trajectories_without_global_generators():
    torch.manual_seed(5), np.random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = make(), make()
    first.reset(seed=9), second.reset(seed=9)
    assert_same(roll(first, 30), roll(second, 30))
    assert torch.equal(states[0], torch.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()
    second.reset(seed=10)
    assert not torch.equal(*(next(iter(env.network.parameters())) for env in (first, second)))


def test_checkpoint_of_another_pool_is_refused():
    env = make(duplicates=3)
    with pytest.raises(CheckpointError, match="from another environment"):
        env.load_state_dict(make().state_dict())


def test_evaluation_view_passes_once_over_split_and_counts_unused_modules():
    env = make(num_envs=4)
    env.reset(seed=0)
    roll(env, 30)
    before, mode = weights(env), env.network.training
    view = env.evaluation_view("test", num_envs=5)
    obs, _ = view.reset()
    seen = []
    while not view.pass_over:
        obs, *_, info = view.step(np.where(obs["depth"] == 0, 0, 4))
        if "final_info" in info:
            seen += info["final_info"]["sample"][info["_final_info"]].tolist()
    assert [s for s in seen if s >= 0] == list(range(len(env.data.split("test"))))
    figures = view.evaluation_figures()
    assert figures["modules_unused"] == 10 and figures["blocks_used"] == 2
    tests = len(env.data.split("test"))
    assert figures["usage"].sum(0).tolist() == [tests, 0, 0, 0, tests, *[0] * 7]
    assert figures["edges"][12, 0] == figures["edges"][0, 4] == tests
    assert all(torch.equal(value, before[key]) for key, value in weights(env).items())
    assert mode and view.usage is not env.usage


def test_modules_unused_counts_last_training_batch():
    env = make(num_envs=4, train_batch=4)
    env.reset(seed=0)
    env.step(np.array([0, 0, 6, 6]))
    *_, info = env.step(np.array([4, 4, 4, 10]))
    assert info["final_info"]["modules_unused"].tolist() == [8] * 4
    env.step(np.zeros(4, int))
    *_, info = env.step(np.full(4, 4))
    assert info["final_info"]["modules_unused"].tolist() == [8] * 4  # of the previous batch, until this one ends
    env.step(np.zeros(4, int))
    *_, info = env.step(np.full(4, 4))
    assert info["final_info"]["modules_unused"].tolist() == [10] * 4


def test_divergence_error_names_task_and_persists():
    env = make(learning_rate=1e30)
    env.reset(seed=0)
    with pytest.raises(TrainingDiverged, match="task 'task"):
        roll(env, 2000)
    with pytest.raises(TrainingDiverged):
        env.reset()
    env.reset(seed=0)


def test_pool_supports_custom_modules_of_any_shape():
    """Check a pool of reshaping modules, a one-axis convolution and linear modules."""
    modules = [
        PoolModule(nn.Unflatten(1, (4, 4)), (16,), (4, 4), name="fold"),
        PoolModule(nn.Conv1d(4, 4, 3, padding=1), (4, 4), (4, 4)),
        PoolModule(nn.Flatten(), (4, 4), (16,)),
        PoolModule(nn.Linear(16, 16), (16,)),
        PoolModule(nn.Linear(16, 3), (16,), head=True),
    ]
    env = LimitlessVectorEnv(4, data=tiny_data(), network=ModulePool(modules, (16,)), max_depth=5)
    obs, _ = env.reset(seed=0)
    assert obs["image"].shape == (4, 16)
    assert env.action_masks()[0].tolist() == [True, False, False, True, True, False]
    roll(env, 400)
    assert env.updates > 0


def test_function_of_context_makes_pool_for_every_seed():
    def pool(context):
        heads = [PoolModule(nn.Linear(16, context.data.max_classes), (16,), head=True) for _ in range(2)]
        return ModulePool(heads, context.data.input_shape)

    env = LimitlessVectorEnv(4, data=tiny_data(), network=pool)
    weights = []
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        weights.append(env.network[0].body.weight.detach().clone())
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])


def test_images_are_downsampled_by_averaging():
    x = np.zeros((40, 1, 4, 4), np.uint8)
    x[:, 0, 0, :2] = [255, 255]
    data = MultiTaskDataset.from_tasks("squares", {"a": (x, np.arange(40) % 2)})
    env = LimitlessVectorEnv(1, data=data, image_shape=(1, 2, 2), filters=2, hidden=4)
    obs, _ = env.reset(seed=0)
    np.testing.assert_allclose(obs["image"][0, 0], [[0.5, 0], [0, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_depth": 1}, "max_depth=1 .*shortest network"),
        ({"max_depth": 0}, "max_depth=0 is not possible; it takes a whole number from 1 to 10,000"),
        ({"duplicates": 0}, "duplicates=0 is not possible"),
        ({"bonus": -1}, "bonus=-1 is not possible; it takes True, False or a number from 0 to 10"),
        ({"lr_decay": 0}, "lr_decay=0 is not possible"),
        ({"learning_rate": 0}, "learning_rate=0 is not possible"),
        ({"reward": "score"}, "reward='score' is unknown"),
        ({"image_shape": None}, r"\(16,\) .*image_shape="),
        ({"image_shape": [1, 5, 5]}, r"image_shape=\(1, 5, 5\) .*\(16,\)"),
        ({"duplicate": 3}, "no option 'duplicate'. Did you mean 'duplicates'"),
        ({"network": ModulePool([PoolModule(nn.Linear(9, 3), (9,), head=True)], (9,))}, r"inputs of shape \(9,\)"),
        ({"pool": None}, "option 'pool'.* network="),
        ({"network": lambda: None}, "takes no context"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_preset_has_pool_of_the_paper(caplog):
    env = gym.make(DIGITS)
    assert isinstance(env.unwrapped, LimitlessEnv)
    assert env.action_space.n == 31 and env.observation_space["chosen"].nvec.tolist() == [31] * 4
    assert env.observation_space["image"].shape == (1, 8, 8)
    env.reset(seed=0)
    with caplog.at_level(logging.WARNING):
        env.reset(seed=1)
    assert not caplog.records


def test_tensor_option_returns_tensors():
    env = make(tensors=True)
    obs, _ = env.reset(seed=0)
    assert all(isinstance(part, torch.Tensor) for part in obs.values())
    _, reward, *_ = env.step(torch.zeros(4, dtype=torch.int64))
    assert isinstance(reward, torch.Tensor)


def test_evaluation_returns_usage_and_unused_modules():
    result = mtl_gym.evaluate(lambda obs: np.where(obs["depth"] == 0, 0, 4), make(), split="validation")
    assert result.figures["modules_unused"] == 10 and np.isfinite(result.loss).all()
